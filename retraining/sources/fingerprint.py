"""A training set's fingerprint: the same for the same rows, on any day, machine and polars version.

What is hashed (version 1), all integers little-endian:

- the text `retraining.fingerprint.1`, a zero byte, the number of rows and of columns as 8 bytes each;
- for each column, in the frame's order: the length of its name as 8 bytes, the name in UTF-8, the name of its
  type below and a zero byte, and then three SHA-256 digests, each of one stream over all rows:
  1. validity: one bit a row, 1 where there is a value, highest bit first, the last byte filled with zeros;
  2. values: each in its type's width, zero where there is none; text and binary as their bytes, end to end;
  3. lengths: of text and binary the bytes of each value as 8 bytes, zero where there is none; else empty.

| polars type | name | value |
|---|---|---|
| Boolean | `bool` | one byte, 0 or 1 |
| Int8 ... UInt64 | `int8` ... `uint64` | the integer |
| Float16, Float32, Float64 | `float16`, `float32`, `float64` | IEEE 754; -0.0 as 0.0, all NaN as one |
| String, Categorical, Enum | `string` | UTF-8 |
| Binary | `binary` | the bytes |
| Date | `date` | days since 1970-01-01, 4 bytes |
| Datetime, Duration | `datetime[us,UTC]`, `duration[us]` | units since 1970-01-01 UTC, or of time, 8 bytes |
| Time | `time` | nanoseconds since midnight, 8 bytes |
| Decimal, Int128, UInt128 | `decimal[scale]`, `int128`, `uint128` | the digits as text, hashed like text |
| Null | `null` | none |

Chunks, files and row groups leave no trace. The order of rows does: an estimator sees it. The sources of the
product return the same rows in the same order however they are stored.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from retraining.registry.values import DataFingerprint

# A multiple of 8: slices then fill whole bytes of the validity bits.
_ROWS_AT_ONCE = 1 << 17


def fingerprint(frame: pl.DataFrame, time_column: str) -> DataFingerprint:
    """The content hash, the number of rows, and the times of the first and the last row.

    Takes memory for a slice of two columns at a time, beside the frame.

    Raises:
        ValueError: the frame has no rows, or the time column no times.
        TypeError: a column of lists, structs or objects, which have no one form in bytes.
    """
    first, last = span(frame[time_column])
    digest = hashlib.sha256(b"retraining.fingerprint.1\0")
    digest.update(_length(frame.height) + _length(frame.width))
    headers = [_header(column) for column in frame.iter_columns()]
    # Hashing lets other threads run; two keep two slices in memory.
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="fingerprint") as hashing:
        for header, streams in zip(headers, hashing.map(_streams, frame.iter_columns()), strict=True):
            digest.update(header)
            for stream in streams:
                digest.update(stream)
    return DataFingerprint(content_hash=digest.hexdigest(), rows=frame.height, start=first, end=last)


def _header(column: pl.Series) -> bytes:
    name = column.name.encode()
    return _length(len(name)) + name + _type_name(column).encode() + b"\0"


def _length(count: int) -> bytes:
    return count.to_bytes(8, "little")


def _streams(column: pl.Series) -> tuple[bytes, bytes, bytes]:
    validity, values, lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for part in _slices(column):
        validity.update(np.packbits(part.is_not_null().to_numpy()).tobytes())
        if part.dtype == pl.String:
            present = part.fill_null("")
            lengths.update(_little_endian(present.str.len_bytes().cast(pl.UInt64)))
            values.update(present.str.join().item().encode())
        elif part.dtype == pl.Binary:
            blobs = part.fill_null(b"").to_list()
            lengths.update(b"".join(_length(len(blob)) for blob in blobs))
            values.update(b"".join(blobs))
        elif part.dtype != pl.Null:
            values.update(_little_endian(_plain(part)))
    return validity.digest(), values.digest(), lengths.digest()


def _slices(column: pl.Series) -> Iterator[pl.Series]:
    is_text = isinstance(column.dtype, (pl.Categorical, pl.Enum, pl.Decimal, pl.Int128, pl.UInt128))
    for start in range(0, len(column), _ROWS_AT_ONCE):
        part = column.slice(start, _ROWS_AT_ONCE)
        yield part.cast(pl.String) if is_text else part


def _plain(part: pl.Series) -> pl.Series:
    if part.dtype == pl.Boolean:
        part = part.cast(pl.UInt8)
    return part.to_physical().fill_null(0)


def _little_endian(numbers: pl.Series) -> bytes:
    array = numbers.to_numpy()
    if numbers.dtype.is_float():
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
        # Makes -0.0 zero; polars takes adding zero for no work at all.
        array = array + np.array(0, array.dtype)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _type_name(column: pl.Series) -> str:
    dtype = column.dtype
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return "string"
        case pl.Datetime():
            return f"datetime[{dtype.time_unit},{dtype.time_zone or ''}]"
        case pl.Duration():
            return f"duration[{dtype.time_unit}]"
        case pl.Decimal():
            return f"decimal[{dtype.scale}]"
        case _ if dtype in _NAMES:
            return _NAMES[dtype]
    raise TypeError(f"column {column.name} is {dtype}, of which there is no fingerprint")


_NAMES: dict[pl.DataType, str] = {
    pl.Boolean(): "bool",
    pl.Int8(): "int8",
    pl.Int16(): "int16",
    pl.Int32(): "int32",
    pl.Int64(): "int64",
    pl.UInt8(): "uint8",
    pl.UInt16(): "uint16",
    pl.UInt32(): "uint32",
    pl.UInt64(): "uint64",
    pl.Int128(): "int128",
    pl.UInt128(): "uint128",
    pl.Float16(): "float16",
    pl.Float32(): "float32",
    pl.Float64(): "float64",
    pl.Binary(): "binary",
    pl.Date(): "date",
    pl.Time(): "time",
    pl.Null(): "null",
}


def span(times: pl.Series) -> tuple[datetime, datetime]:
    """The first and the last of some times, in UTC. Raises ValueError if there is none."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC")
    return _as_utc(times.min()), _as_utc(times.max())


def _as_utc(time: object) -> datetime:
    if isinstance(time, datetime):
        return time.replace(tzinfo=UTC)
    if isinstance(time, date):
        return datetime(time.year, time.month, time.day, tzinfo=UTC)
    raise ValueError("a frame without times has no fingerprint")
