"""Finding the models: installed packages' entry points, and those named in the settings.

An entry is an attribute that is a `ModelSpec`, or a function without arguments that returns one. An entry
that cannot be used takes no other model down: it becomes one of the catalog's `problems`, which `/ready` and
`retraining doctor` show, and asking for its model tells the problem. Two different models of one name are
both left out, because a job must never train the wrong one.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from retraining.catalog.spec import ModelSpec
from retraining.errors import InvalidCatalog, UnknownModel

ENTRY_POINT_GROUP = "retraining.models"
SETTING = "RETRAINING_MODELS"
_ADDRESS = re.compile(r"(?P<module>[\w.]+):(?P<attribute>[\w.]+)")


class Catalog:
    """The models this installation knows, by name in alphabetical order, and what is wrong with the rest."""

    def __init__(self, models: Iterable[ModelSpec], problems: Iterable[InvalidCatalog] = ()) -> None:
        self._models = {spec.name: spec for spec in sorted(models, key=lambda spec: spec.name)}
        self.problems = tuple(problems)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the usable models."""
        return tuple(self._models)

    def get(self, name: str) -> ModelSpec:
        """The model of this name.

        Raises:
            InvalidCatalog: there is an entry of this name, and it cannot be used.
            UnknownModel: there is none; the message lists the names there are.
        """
        if name in self._models:
            return self._models[name]
        for problem in self.problems:
            if name == problem.origin or problem.origin.startswith(f"{name} = "):
                raise problem
        raise UnknownModel(name, self.names)

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._models


@dataclass(frozen=True)
class _Entry:
    origin: str
    """How people find it: `name = package.module:attribute`, and where that is written."""
    address: str


def load_catalog(models: Sequence[str] = (), folders: Sequence[Path] = ()) -> Catalog:
    """Import every model of the entry-point group `retraining.models` and of `models`.

    `models` are `package.module:attribute`, as in the setting RETRAINING_MODELS; what is not installed is
    looked for in `folders`. Never fails: what cannot be used is in the catalog's `problems`.
    """
    if models:
        # Last, because a team's folder may well have an `api` or a `flows` of its own.
        sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]
    found: dict[str, list[tuple[_Entry, ModelSpec]]] = defaultdict(list)
    problems = []
    for entry in _entries(models):
        try:
            spec = _load(entry)
        except InvalidCatalog as problem:
            problems.append(problem)
            continue
        if all(spec is not other for _, other in found[spec.name]):
            found[spec.name].append((entry, spec))
    usable = []
    for name, candidates in found.items():
        if len(candidates) == 1:
            usable.append(candidates[0][1])
            continue
        origins = " and ".join(entry.origin for entry, _ in candidates)
        problems.append(
            InvalidCatalog(name, f"{len(candidates)} models have this name ({origins}); rename all but one")
        )
    return Catalog(usable, problems)


def _entries(models: Sequence[str]) -> Iterator[_Entry]:
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value)):
        package = f" of {point.dist.name}" if point.dist is not None else ""
        yield _Entry(f"{point.name} = {point.value} (entry point{package})", point.value)
    for address in models:
        yield _Entry(f"{address} (setting {SETTING})", address)


def _load(entry: _Entry) -> ModelSpec:
    """Import one entry. Raises InvalidCatalog."""
    address = _ADDRESS.fullmatch(entry.address)
    if address is None:
        raise InvalidCatalog(entry.origin, "is not of the form package.module:attribute")
    try:
        module = import_module(address["module"])
        attribute: object = reduce(getattr, address["attribute"].split("."), module)
        spec = attribute() if callable(attribute) else attribute
    except ModuleNotFoundError as exc:
        hint = "install the package that has it, or name its folder in RETRAINING_MODELS_PATH"
        raise InvalidCatalog(entry.origin, f"cannot be loaded: {exc}; {hint}") from exc
    # A module may fail, and even exit, in any way while it is imported.
    except (Exception, SystemExit) as exc:
        raise InvalidCatalog(entry.origin, f"cannot be loaded: {type(exc).__name__}: {exc}") from exc
    if not isinstance(spec, ModelSpec):
        raise InvalidCatalog(
            entry.origin, f"is a {type(spec).__name__}, needs a ModelSpec or a function that returns one"
        )
    return spec
