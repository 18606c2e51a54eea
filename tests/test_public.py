import subprocess
import sys

import pytest

import retraining


@pytest.mark.parametrize("name", retraining.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(retraining, name).__name__ == name
    assert name in dir(retraining)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'retraining' has no attribute 'Model'"):
        retraining.Model  # noqa: B018 - reading it is the test


def test_importing_the_package_imports_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import retraining; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pandas", "polars", "pydantic", "numpy", "mlflow", "prefect"} & set(loaded.stdout.split())
