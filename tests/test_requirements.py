"""What the code imports is what pyproject.toml asks for, not what happens to come along."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = {"retraining", "api", "flows", "tests", "benchmarks"}
ELSEWHERE = {"nannyml"}
"""A peer that benchmarks measure in an environment of its own."""


def imported(*folders: str) -> Iterator[tuple[str, str]]:
    """Top-level modules that are not Python's own, and the file that imports each."""
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - OURS - ELSEWHERE:
                yield top, str(file.relative_to(ROOT))


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(one for extra in extras for one in project["optional-dependencies"][extra]),
    ]
    return {normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in listed}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def undeclared(folders: tuple[str, ...], known: set[str]) -> list[tuple[str, str]]:
    distributions = packages_distributions()
    return [
        (module, file)
        for module, file in imported(*folders)
        if not known & {normal(name) for name in distributions.get(module, ())}
    ]


def test_what_the_product_imports_is_declared() -> None:
    assert undeclared(("retraining", "api", "flows"), declared("lightgbm", "redis")) == []


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    assert undeclared(("tests", "benchmarks"), declared("lightgbm", "redis", "dev")) == []
