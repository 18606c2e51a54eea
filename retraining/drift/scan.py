"""Counting a window's columns in the bins of the reference, in one pass and in bounded memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

import polars as pl
