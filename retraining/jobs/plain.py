"""What can travel from a request to Prefect and both databases unharmed."""

import math
from typing import Any

MAX_DEPTH = 20
MAX_INT = 2**63 - 1


def refuse_unstorable(value: Any, path: str = "parameters", depth: int = 0) -> None:
    """Check that a JSON value survives every store it passes: PostgreSQL has no NUL, Prefect no big integers.

    Raises:
        ValueError: names the place and what is wrong with it.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"{path.split('.', maxsplit=1)[0]} is nested more than {MAX_DEPTH} levels deep")
    match value:
        case str():
            _refuse_text(value, path)
        case bool() | None:
            pass
        case int():
            if not -MAX_INT <= value <= MAX_INT:
                raise ValueError(f"{path} is an integer of more than 64 bits")
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{path} is not a finite number")
        case list():
            for position, item in enumerate(value):
                refuse_unstorable(item, f"{path}.{position}", depth + 1)
        case dict():
            for name, item in value.items():
                _refuse_text(name, path)
                refuse_unstorable(item, f"{path}.{name}", depth + 1)
        case _:
            raise ValueError(f"{path} is {type(value).__name__}, not JSON")


def _refuse_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise ValueError(f"{path} contains a NUL character")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{path} contains half a surrogate pair, which is no Unicode text")


def storable_text(text: str) -> str:
    """Text from a running job or from Prefect without what PostgreSQL refuses."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable_json(value: Any) -> Any:
    """The same for every text inside a JSON value."""
    match value:
        case str():
            return storable_text(value)
        case list():
            return [storable_json(item) for item in value]
        case dict():
            return {storable_text(name): storable_json(item) for name, item in value.items()}
        case _:
            return value
