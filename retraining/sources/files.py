"""What the file sources share: where files are, and what goes wrong with them."""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from retraining.errors import DataProblem, SourceUnreachable, UnreadableSource
from retraining.sources.masking import mask_credentials, presentable_cause

READ_BY_POLARS = frozenset(
    {"file", "s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "http", "https", "hf"}
)
"""Protocols that polars reads itself, with its own storage options; all others go through fsspec."""

_PROTOCOL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)(://|::)")
WILDCARD = re.compile(r"[*?\[]")
_POLARS_ADVICE = re.compile(r",? ?(hint: |consider |\bConsider |You might want to |Hint: ).*", re.DOTALL)
_DOES_NOT_ANSWER = re.compile(r"object-store error: Generic|timed? ?out", re.IGNORECASE)


def is_read_by_polars(path: str) -> bool:
    """Whether polars opens this address itself; a chained address (`simplecache::s3://`) is fsspec's."""
    protocol = _PROTOCOL.match(path)
    return protocol is None or (protocol[2] == "://" and protocol[1].lower() in READ_BY_POLARS)


def local_path(path: str) -> Path | None:
    """The path on this machine, or None for an address elsewhere."""
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    return Path(path).expanduser() if _PROTOCOL.match(path) is None else None


def has_wildcard(path: str) -> bool:
    """Whether the path is a pattern.

    A local file whose very name has a bracket in it is none, nor is a web address: web servers list nothing,
    and the question mark begins a query.
    """
    here = local_path(path)
    is_name = path.startswith(("http://", "https://")) if here is None else here.exists()
    return WILDCARD.search(path) is not None and not is_name


def fixed_part(path: str) -> str:
    """The folder that a folder, a file or a pattern searches: what comes before the first wildcard."""
    wildcard = WILDCARD.search(path)
    return path if wildcard is None else path[: wildcard.start()].rpartition("/")[0]


def as_searched(path: str, suffixes: Sequence[str]) -> str:
    """An address for polars: a folder (anything without a data file's suffix) becomes a pattern."""
    is_file = path.endswith(tuple(suffixes)) or path.startswith(("http://", "https://"))
    return path if is_file or has_wildcard(path) else f"{path.rstrip('/')}/**/*{suffixes[0]}"


def list_local(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files behind a local file, folder or pattern, sorted; hidden ones left out of folders.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_dir():
        files = [
            found for found in path.rglob("*") if is_data_file(found.relative_to(path).as_posix(), suffixes)
        ]
    elif path.exists():
        files = [path]
    else:
        files = [Path(found) for found in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - an absolute pattern
    if not files:
        raise FileNotFoundError(f"no {' or '.join(suffixes)} file is there")
    return sorted(files)


def open_file_system(path: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path inside it."""
    import fsspec  # only addresses that polars cannot open need it

    file_system, inner = fsspec.core.url_to_fs(path, **(storage_options or {}))
    return file_system, str(inner)


def list_remote(file_system: Any, path: str, suffixes: Sequence[str]) -> list[str]:
    """The files behind an fsspec file, folder or pattern, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    if WILDCARD.search(path):
        files = [str(found) for found in file_system.glob(path)]
    elif file_system.isdir(path):
        found_files = map(str, file_system.find(path))
        files = [
            found for found in found_files if is_data_file(found.removeprefix(path).lstrip("/"), suffixes)
        ]
    else:
        files = [path] if file_system.exists(path) else []
    if not files:
        raise FileNotFoundError(f"no {' or '.join(suffixes)} file is there")
    return sorted(files)


def is_data_file(relative: str, suffixes: Sequence[str]) -> bool:
    """Whether a folder's file is data: the right suffix, and nothing in its path hidden by `_` or `.`."""
    hidden = any(part.startswith((".", "_")) and "=" not in part for part in relative.split("/"))
    return relative.endswith(tuple(suffixes)) and not hidden


@contextmanager
def reading(source: str, files_to_blame: Sequence[Path] = ()) -> Iterator[None]:
    """Translate what file systems, polars and pyarrow raise while `source` is read.

    Raises:
        SourceUnreachable: a store that does not answer.
        UnreadableSource: anything else, naming the one of `files_to_blame` that is no Parquet file.
    """
    try:
        yield
    except DataProblem:
        raise
    # polars panics on some damaged files, and a panic is a BaseException: it would take the worker with it.
    except (OSError, ImportError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as exc:
        problem, cause = say(exc), presentable_cause(exc)
        if _is_transient(exc):
            raise SourceUnreachable(source, f"the storage does not answer: {problem}") from cause
        culprit = _damaged_file(files_to_blame) if isinstance(exc, pl.exceptions.PolarsError) else None
        named = f"{culprit}: {problem}" if culprit else problem
        raise UnreadableSource(source, f"cannot be read: {named}") from cause


def say(exc: BaseException) -> str:
    """What the exception says in one line, without passwords and without advice on the vendor's arguments."""
    if isinstance(exc, FileNotFoundError) and exc.errno is None and exc.args:
        text = str(exc.args[0])
    elif isinstance(exc, OSError) and exc.strerror:
        text = exc.strerror
    else:
        # Of a pattern on a remote storage only polars knows that it fits nothing.
        text = "no file is there" if "paths were empty" in str(exc) else _POLARS_ADVICE.sub("", str(exc))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return mask_credentials(lines[0] if lines else type(exc).__name__)[:300]


def _is_transient(exc: BaseException) -> bool:
    if isinstance(exc, (ConnectionError, TimeoutError)):
        return True
    return isinstance(exc, (OSError, pl.exceptions.ComputeError)) and bool(_DOES_NOT_ANSWER.search(str(exc)))


def _damaged_file(files: Sequence[Path]) -> Path | None:
    """The first file whose own schema cannot be read, where there are several."""
    if len(files) < 2:
        return None
    for file in files:
        try:
            pl.scan_parquet(file, glob=False).collect_schema()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return file
    return None
