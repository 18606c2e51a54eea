"""The profile as bytes: gzipped JSON, so that `zcat` shows it and a damaged file is noticed."""

import gzip
import json
import zlib
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retraining.drift.bins import CELLS, CategoryBins, NumericBins
from retraining.drift.counts import CategoryCounts, NumericCounts
from retraining.drift.kinds import Kind
from retraining.drift.profile import ColumnProfile, ReferenceProfile
from retraining.errors import InvalidDriftProfile

FILE_NAME = "drift_profile.json.gz"
"""What the profile is called among the artifacts of a model version."""
VERSION = 1
"""Rises when the layout of the bins or of the file changes, so that old profiles are refused, not misread."""

Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def dump_profile(profile: ReferenceProfile) -> bytes:
    """The profile as bytes; equal profiles make equal bytes."""
    document = _Document(
        version=VERSION,
        rows=profile.rows,
        time_column=profile.time_column,
        columns={name: _column_of(column) for name, column in profile.columns.items()},
    )
    return gzip.compress(document.model_dump_json().encode(), compresslevel=6, mtime=0)


def load_profile(content: bytes) -> ReferenceProfile:
    """The profile that `dump_profile` made these bytes of.

    Raises:
        InvalidDriftProfile: the bytes are damaged, are something else, or come from another version.
    """
    try:
        plain = json.loads(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        raise InvalidDriftProfile(f"it is damaged ({exc})") from exc
    version = plain.get("version") if isinstance(plain, dict) else None
    if version != VERSION:
        raise InvalidDriftProfile(f"its version is {version}, this is version {VERSION}")
    try:
        document = _Document.model_validate(plain)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise InvalidDriftProfile(f"{where}: {first['msg']}") from exc
    return ReferenceProfile(
        rows=document.rows,
        columns={name: column.restore() for name, column in document.columns.items()},
        time_column=document.time_column,
    )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Numeric(_Part):
    type: Literal["numeric"] = "numeric"
    kind: Literal["numeric", "datetime"]
    center: Finite
    scale: Annotated[Finite, Field(gt=0)]
    values: tuple[Finite, ...] | None
    missing: Count
    steps: tuple[Count, ...]
    """The first cell, and from each cell to the next."""
    counts: tuple[Annotated[int, Field(gt=0)], ...]
    minimum: Finite | None
    maximum: Finite | None
    mean: Finite | None
    std: Annotated[Finite, Field(ge=0)] | None
    integers: bool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.steps) != len(self.counts):
            raise ValueError("there are not as many cells as counts")
        if 0 in self.steps[1:] or sum(self.steps) >= CELLS:
            raise ValueError("the cells do not ascend, or end beyond the last")
        if any(
            (figure is None) == bool(self.counts)
            for figure in (self.minimum, self.maximum, self.mean, self.std)
        ):
            raise ValueError("minimum, maximum, mean and std come with values, and only then")
        if self.values is not None and any(after <= before for before, after in pairwise(self.values)):
            raise ValueError("the values do not ascend")
        return self

    @property
    def rows(self) -> int:
        return self.missing + sum(self.counts)

    def restore(self) -> ColumnProfile:
        counts = NumericCounts(
            missing=self.missing,
            cells=np.cumsum(np.array(self.steps, np.int64)),
            counts=np.array(self.counts, np.int64),
            minimum=_or_nan(self.minimum),
            maximum=_or_nan(self.maximum),
            mean=_or_nan(self.mean),
            std=_or_nan(self.std),
            integers=self.integers,
        )
        return ColumnProfile(self.kind, NumericBins(self.center, self.scale, self.values), counts)


class _Categories(_Part):
    type: Literal["categories"] = "categories"
    kind: Literal["categorical", "boolean"]
    categories: tuple[str, ...]
    distinct: Count
    missing: Count
    counts: tuple[Count, ...]
    other: Count

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not len(set(self.categories)) == len(self.categories) == len(self.counts):
            raise ValueError("there are not as many categories as counts, or one comes twice")
        if self.distinct < len(self.categories):
            raise ValueError("there are more categories than distinct ones")
        return self

    @property
    def rows(self) -> int:
        return self.missing + sum(self.counts) + self.other

    def restore(self) -> ColumnProfile:
        counts = CategoryCounts(
            missing=self.missing, counts=np.array(self.counts, np.int64), other=self.other
        )
        return ColumnProfile(self.kind, CategoryBins(self.categories, self.distinct), counts)


class _Document(_Part):
    version: int
    rows: Annotated[int, Field(gt=0)]
    time_column: str | None
    columns: dict[str, Annotated[_Numeric | _Categories, Field(discriminator="type")]]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, column in self.columns.items():
            if column.rows != self.rows:
                raise ValueError(f"column {name} has {column.rows} rows, the reference {self.rows}")
        return self


def _column_of(column: ColumnProfile) -> "_Numeric | _Categories":
    kind: Kind = column.kind
    match column.bins, column.counts:
        case NumericBins() as bins, NumericCounts() as counts:
            assert kind in ("numeric", "datetime")
            return _Numeric(
                kind=kind,
                center=bins.center,
                scale=bins.scale,
                values=bins.values,
                missing=counts.missing,
                steps=tuple(np.diff(counts.cells, prepend=0).tolist()),
                counts=tuple(counts.counts.tolist()),
                minimum=_or_none(counts.minimum),
                maximum=_or_none(counts.maximum),
                mean=_or_none(counts.mean),
                std=_or_none(counts.std),
                integers=counts.integers,
            )
        case CategoryBins() as bins, CategoryCounts() as counts:
            assert kind in ("categorical", "boolean")
            return _Categories(
                kind=kind,
                categories=bins.categories,
                distinct=bins.distinct,
                missing=counts.missing,
                counts=tuple(counts.counts.tolist()),
                other=counts.other,
            )
    raise TypeError(f"bins and counts of different kinds: {column}")


def _or_none(figure: float) -> float | None:
    return None if np.isnan(figure) else figure


def _or_nan(figure: float | None) -> float:
    return float("nan") if figure is None else figure
