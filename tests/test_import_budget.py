"""What importing an entry point costs, in modules: whoever needs little waits for little.

Counted in an interpreter of its own. The limits leave room for what vendors add to themselves, not for a
vendor more.
"""

import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        "evidently",
        "lightgbm",
        "matplotlib",
        "mlflow",
        "nltk",
        "prefect",
        "pyarrow",
        "scipy",
        "sklearn",
        "skops",
    }
)
FRAMES = frozenset({"numpy", "pandas", "polars"})
WEB = frozenset({"fastapi", "sqlalchemy", "sqlmodel", "uvicorn"})

HELP = """
from contextlib import redirect_stdout, suppress
from io import StringIO
from retraining.cli import main
sys.argv = ["retraining", *{arguments}]
with redirect_stdout(StringIO()), suppress(SystemExit):
    main()
"""


def imported_by(code: str) -> set[str]:
    """The modules that an interpreter has imported once it has run the code."""
    counted = f"import sys\n{code}\nprint('modules', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", counted], capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    ("code", "limit", "never"),
    [
        # An interpreter alone has some 60 modules.
        pytest.param("import retraining", 120, HEAVY | FRAMES | WEB | {"pydantic"}, id="retraining"),
        pytest.param("import retraining.catalog", 120, HEAVY | FRAMES | WEB, id="retraining.catalog"),
        pytest.param(
            "import retraining.warm.launcher",
            120,
            HEAVY | FRAMES | WEB | {"asyncio", "pydantic"},
            id="retraining.warm.launcher",
        ),
        pytest.param(HELP.format(arguments=["--help"]), 650, HEAVY | FRAMES | WEB, id="retraining --help"),
        pytest.param(
            HELP.format(arguments=["job", "list", "--help"]),
            650,
            HEAVY | FRAMES | WEB,
            id="retraining job list --help",
        ),
        # Models name their sources: polars is the catalog's.
        pytest.param("import api.app", 1_500, HEAVY | {"pandas"}, id="api.app"),
        # The catalog's models name their estimators in functions.
        pytest.param(
            "from retraining.catalog.discovery import load_catalog; load_catalog()",
            900,
            (HEAVY | WEB | {"pandas"}) - {"pyarrow"},
            id="the catalog",
        ),
        # Vendors that only some jobs need, or only at their end, are left to these.
        pytest.param(
            "import flows.retrain", 2_300, HEAVY - {"prefect", "pyarrow"} | {"fastapi"}, id="flows.retrain"
        ),
        pytest.param(
            "import flows.monitor",
            2_500,
            HEAVY - {"prefect", "pyarrow", "scipy"} | {"fastapi"},
            id="flows.monitor",
        ),
    ],
)
def test_an_entry_point_imports_what_it_needs(code: str, limit: int, never: frozenset[str]) -> None:
    """No vendor that its caller may do without, and no more modules than its budget."""
    modules = imported_by(code)

    assert modules & never == set()
    assert len(modules) <= limit
