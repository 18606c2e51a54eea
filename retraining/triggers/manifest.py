"""A file of triggers, YAML or JSON: read whole and checked before anything is asked of a server."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from pydantic import ValidationError

from retraining.errors import InvalidCondition, InvalidManifest
from retraining.triggers.condition import parse_condition
from retraining.triggers.plan import Declared
from retraining.triggers.trigger import TriggerRequest

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
DEPTH = 4
"""triggers, its item, trigger_condition, its key: no problem lies deeper."""


def read_manifest(text: str, name: str, *, is_json: bool = False) -> list[Declared]:
    """The triggers that a file declares: a list under `triggers`, each as `POST /triggers` takes it.

    Raises:
        InvalidManifest: the file is not of that form; with every problem's line and field.
    """
    value, lines, doubled = _parsed(text, name, is_json)
    problems = [(path, "is given twice") for path in doubled]
    entries = _entries(value, problems)
    declared: list[Declared] = []
    seen: dict[Any, int] = {}
    for number, entry in enumerate(entries):
        place: Path = ("triggers", number)
        try:
            one = _declared(entry, _line_of(place, lines))
        except ValidationError as exc:
            problems += [((*place, *error["loc"]), error["msg"]) for error in exc.errors(include_url=False)]
        except InvalidCondition as exc:
            problems += [((*place, *field.split(".")), problem) for field, problem in exc.problems]
        else:
            if one.meaning in seen:
                problems.append((place, f"is the same trigger as in line {seen[one.meaning]}"))
            seen[one.meaning] = one.line
            declared.append(one)
    if problems:
        raise InvalidManifest(
            name, [(_line_of(path, lines), _written(path), problem) for path, problem in problems]
        )
    return declared


def _entries(value: Any, problems: list[Problem]) -> list[Any]:
    if not isinstance(value, dict):
        problems.append(((), "has no list of triggers: write `triggers:` and a list below it"))
        return []
    problems += [
        ((str(key),), "is no key of this file, only `triggers` is") for key in value if key != "triggers"
    ]
    entries = value.get("triggers")
    if not isinstance(entries, list):
        problems.append((("triggers",), "is no list; an empty one, [], deletes every trigger"))
        return []
    return entries


def _declared(entry: Any, line: int) -> Declared:
    """Raises ValidationError, InvalidCondition."""
    wanted = TriggerRequest.model_validate(entry)
    condition = parse_condition(wanted.trigger_type, wanted.trigger_condition)
    return Declared(
        model_name=wanted.model_name,
        trigger_type=wanted.trigger_type,
        condition=condition.model_dump(mode="json", exclude_unset=True),
        enabled=wanted.enabled,
        line=line,
    )


def _parsed(text: str, name: str, is_json: bool) -> tuple[Any, Mapping[Path, int], list[Path]]:
    """The file's value, the line of every place in it, and the keys that are given twice."""
    lines: dict[Path, int] = {}
    doubled: list[Path] = []
    try:
        value = json.loads(text) if is_json else None
        # JSON is YAML but for tabs between its tokens; inside its texts there are none.
        root = yaml.compose(text.replace("\t", " ") if is_json else text, Loader=yaml.SafeLoader)
        for path, line in _places(root, (), root):
            if path in lines and path[:-1] not in doubled:
                doubled.append(path)
            lines[path] = line
        if not is_json:
            value = yaml.safe_load(text)
    except json.JSONDecodeError as exc:
        raise InvalidManifest(name, [(exc.lineno, "", f"is no JSON: {exc.msg}")]) from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = " ".join(filter(None, (exc.problem, exc.context)))
        raise InvalidManifest(name, [(mark.line + 1 if mark else 1, "", f"is no YAML: {problem}")]) from exc
    except yaml.YAMLError as exc:
        raise InvalidManifest(name, [(1, "", f"is no YAML: {exc}")]) from exc
    except RecursionError as exc:
        raise InvalidManifest(name, [(1, "", "is nested too deeply")]) from exc
    return value, lines, doubled


def _places(node: Any, path: Path, at: Any) -> Iterator[tuple[Path, int]]:
    """Every place down to DEPTH, which an anchor that holds itself does not pass; `at` is where it begins."""
    if node is None:
        return
    yield path, at.start_mark.line + 1
    if len(path) == DEPTH:
        return
    if isinstance(node, yaml.MappingNode):
        for key, below in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                yield from _places(below, (*path, str(key.value)), key)
    elif isinstance(node, yaml.SequenceNode):
        for number, below in enumerate(node.value):
            yield from _places(below, (*path, number), below)


def _line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of a place, or of the nearest one around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _written(path: Path) -> str:
    """A place as people write it: `triggers[1].trigger_condition.window`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
