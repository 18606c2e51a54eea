"""Which line of a CSV file is at fault: polars names the value, a person needs the line.

Runs only after polars has refused a file, at the speed of Python's own CSV reader.
"""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, TextIO

import polars as pl

_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_INTEGER = re.compile(r"[+-]?\d+")
_SURROGATE = re.compile("[\udc80-\udcff]")


def find_bad_line(
    files: Sequence[Path | bytes],
    types: Mapping[str, pl.DataType],
    *,
    separator: str,
    null_values: Iterable[str],
    formats: Mapping[str, str],
) -> str | None:
    """The first line that has too many fields, broken text or a value that is not of its column's type.

    `formats` are the columns of times that are not ISO 8601. Returns a sentence, or None if no line looks
    wrong from here.
    """
    checks = {name: _check(dtype, formats.get(name)) for name, dtype in types.items()}
    nulls = {"", *null_values}
    for file in files:
        with _as_text(file) as text:
            problem = _scan(text, checks, types, separator, nulls)
        if problem:
            return f"{file.name}, {problem}" if isinstance(file, Path) and len(files) > 1 else problem
    return None


def _scan(
    text: TextIO,
    checks: Mapping[str, "Check"],
    types: Mapping[str, pl.DataType],
    separator: str,
    nulls: set[str],
) -> str | None:
    lines = csv.reader(text, delimiter=separator)
    try:
        header = next(lines, [])
        checked = [(place, name, checks[name]) for place, name in enumerate(header) if name in checks]
        for fields in lines:
            if any(map(_SURROGATE.search, fields)):
                return f"line {lines.line_num} is not UTF-8 text"
            if len(fields) > len(header):
                return f"line {lines.line_num} has {len(fields)} fields, the header has {len(header)}"
            for place, name, is_fine in checked:
                if place < len(fields) and fields[place] not in nulls and not is_fine(fields[place]):
                    return (
                        f"line {lines.line_num}: column {name} holds {_short(fields[place])}, which is not "
                        f"{types[name]}; mend it, or list it in null_values, or give the column's type in "
                        "schema_overrides"
                    )
    except csv.Error as exc:
        return f"line {lines.line_num}: {exc}; is a quotation mark missing?"
    return None


Check = Callable[[str], bool]


def _check(dtype: pl.DataType, time_format: str | None) -> Check:
    if time_format is not None:
        return _parses(lambda value: datetime.strptime(value, time_format))
    if dtype.is_integer():
        return lambda value: _INTEGER.fullmatch(value) is not None
    if dtype.is_float():
        return lambda value: value == value.strip() and _is_number(value)
    if isinstance(dtype, pl.Boolean):
        return lambda value: value.lower() in {"true", "false"}
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return _parses(date.fromisoformat if isinstance(dtype, pl.Date) else datetime.fromisoformat)
    return lambda _: True


def _parses(parse: Callable[[str], object]) -> Check:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


_is_number = _parses(float)


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:40]}…")


@contextmanager
def _as_text(file: Path | bytes) -> Iterator[TextIO]:
    """The file as text, undecodable bytes as surrogates; empty if only polars can unpack it."""
    with file.open("rb") if isinstance(file, Path) else io.BytesIO(file) as stored:
        magic = stored.read(4)
        stored.seek(0)
        unpacked: Any = stored
        if magic.startswith(_GZIP):
            unpacked = gzip.GzipFile(fileobj=stored)
        elif magic == _ZSTANDARD:
            unpacked = io.BytesIO()
        with io.TextIOWrapper(unpacked, "utf-8-sig", errors="surrogateescape", newline="") as text:
            yield text
