"""A catalog of two small models."""

from retraining.catalog.discovery import Catalog
from retraining.training.metrics import Metric
from tests.training.specs import spec_for

PROFIT = Metric("profit", "maximize", ("binary",), lambda labels, scores: 1.0)
CHURN = spec_for("binary", name="churn", features=("age", "income"), report=(PROFIT,))
PROFITABILITY = spec_for("regression", name="profitability", features=("age", "visits"))
CATALOG = Catalog([CHURN, PROFITABILITY])
