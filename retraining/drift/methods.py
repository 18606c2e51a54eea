"""The methods by name, and which one `auto` takes."""

from typing import Literal

Method = Literal["psi", "jensen_shannon", "wasserstein", "kolmogorov_smirnov", "chi_square"]
