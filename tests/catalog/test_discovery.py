"""Models are found in real packages: modules and entry points in folders of the test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retraining.catalog.discovery import Catalog, load_catalog
from retraining.errors import InvalidCatalog, UnknownModel

MODEL = """
from retraining import CsvSource, ModelSpec

def make(name="{name}"):
    return ModelSpec(
        name=name, task="binary", source=CsvSource("loans.csv"), label="repaid", features=("income",),
        time_column="applied_at", metric="roc_auc", estimator=lambda parameters: None,
    )

model = make()
text = "not a model"

class Models:
    nested = model

def needs_an_argument(name):
    return make(name)

def fails():
    raise LookupError("no such table")
"""

Write = Callable[..., str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write an importable module; returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str = MODEL, model_name: str = "loans") -> str:
        (tmp_path / f"{name}.py").write_text(text.replace("{name}", model_name))
        return name

    yield write
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def distribution(tmp_path: Path, module: Write) -> Callable[..., None]:
    """Install a package's entry points: what pip would write next to the package."""

    def install(name: str, **models: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        listed = "\n".join(f"{model} = {address}" for model, address in models.items())
        (info / "entry_points.txt").write_text(f"[retraining.models]\n{listed}\n")

    return install


def problems(catalog: Catalog) -> list[str]:
    return [str(problem) for problem in catalog.problems]


def test_the_built_in_models_are_found() -> None:
    catalog = load_catalog()
    assert catalog.names == ("churn", "profitability")
    assert [spec.name for spec in catalog] == ["churn", "profitability"]
    assert len(catalog) == 2
    assert "churn" in catalog
    assert "loans" not in catalog
    assert catalog.get("churn").task == "binary"
    assert catalog.problems == ()


def test_an_unknown_model_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match="unknown model 'loans'; known models: churn, profitability"):
        load_catalog().get("loans")


@pytest.mark.parametrize("attribute", ["model", "make", "Models.nested"])
def test_a_setting_names_a_model_or_a_function_that_makes_one(module: Write, attribute: str) -> None:
    catalog = load_catalog([f"{module('team_models')}:{attribute}"])
    assert catalog.names == ("churn", "loans", "profitability")
    assert catalog.get("loans").label == "repaid"
    assert catalog.problems == ()


def test_a_module_that_is_not_installed_is_found_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder comes last: a team's own `api` or `flows` never hides the product's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "models_beside.py").write_text(MODEL.replace("{name}", "beside"))
    catalog = load_catalog(["models_beside:model"], folders=[folder])
    del sys.modules["models_beside"]
    assert "beside" in catalog
    assert sys.path[-1] == str(folder)


def test_an_installed_package_brings_its_models(module: Write, distribution: Callable[..., None]) -> None:
    distribution("team-models", loans=f"{module('team_models')}:model")
    assert "loans" in load_catalog()


def test_the_same_model_named_twice_is_one_model(module: Write, distribution: Callable[..., None]) -> None:
    address = f"{module('team_models')}:model"
    distribution("team-models", loans=address)
    catalog = load_catalog([address, address])
    assert catalog.names == ("churn", "loans", "profitability")
    assert catalog.problems == ()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("team_models", "is not of the form package.module:attribute"),
        ("team_models:", "is not of the form package.module:attribute"),
        ("team_models:a:b", "is not of the form package.module:attribute"),
        (
            "nobody.has.this:model",
            "cannot be loaded: No module named 'nobody'; install the package that has it, "
            "or name its folder in RETRAINING_MODELS_PATH",
        ),
        (
            "team_models:gone",
            "cannot be loaded: AttributeError: module 'team_models' has no attribute 'gone'",
        ),
        ("team_models:text", "is a str, needs a ModelSpec or a function that returns one"),
        (
            "team_models:needs_an_argument",
            "cannot be loaded: TypeError: needs_an_argument() missing 1 required positional argument: 'name'",
        ),
        ("team_models:fails", "cannot be loaded: LookupError: no such table"),
    ],
)
def test_an_entry_that_cannot_be_used_takes_no_other_model_down(
    module: Write, address: str, problem: str
) -> None:
    module("team_models")
    catalog = load_catalog([address])
    assert catalog.names == ("churn", "profitability")
    assert problems(catalog) == [f"model catalog entry '{address} (setting RETRAINING_MODELS)': {problem}"]


@pytest.mark.parametrize(
    "text", ["raise SystemExit(3)", "import catboost_of_tomorrow", "1 / 0", "not python"]
)
def test_a_module_that_fails_while_it_is_imported_is_a_problem(
    module: Write, distribution: Callable[..., None], text: str
) -> None:
    distribution("broken-models", pricing=f"{module('broken_models', text)}:model")
    catalog = load_catalog()
    assert catalog.names == ("churn", "profitability")
    assert len(catalog.problems) == 1
    assert catalog.problems[0].origin == "pricing = broken_models:model (entry point of broken-models)"
    assert catalog.problems[0].problem.startswith("cannot be loaded: ")


def test_a_model_that_cannot_be_loaded_tells_its_problem_when_asked_for(
    module: Write, distribution: Callable[..., None]
) -> None:
    """Not that it is unknown: its team looks for the mistake in the right place."""
    distribution("broken-models", pricing=f"{module('broken_models', '1 / 0')}:model")
    catalog = load_catalog()
    with pytest.raises(InvalidCatalog, match=r"pricing = broken_models:model.*ZeroDivisionError"):
        catalog.get("pricing")
    with pytest.raises(UnknownModel):
        catalog.get("prices")


def test_a_specification_that_is_refused_says_which_field(module: Write) -> None:
    catalog = load_catalog([f"{module('team_models', model_name='Loans!')}:model"])
    assert catalog.names == ("churn", "profitability")
    assert "ValidationError" in catalog.problems[0].problem
    assert "name" in catalog.problems[0].problem


def test_two_models_of_one_name_are_both_left_out(module: Write, distribution: Callable[..., None]) -> None:
    """A job must never train the wrong one, and nobody overrides a built-in model by accident."""
    distribution("team-models", churn=f"{module('team_models', model_name='churn')}:model")
    catalog = load_catalog()
    assert catalog.names == ("profitability",)
    with pytest.raises(InvalidCatalog, match="2 models have this name") as refused:
        catalog.get("churn")
    assert "retraining.builtin.churn:churn" in str(refused.value)
    assert "team_models:model (entry point of team-models)" in str(refused.value)


def test_a_catalog_can_be_made_of_given_models() -> None:
    churn = load_catalog().get("churn")
    assert Catalog([churn]).names == ("churn",)
    assert Catalog([]).names == ()
