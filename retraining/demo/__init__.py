"""`make demo`: two models and a year of a shop's customers, on a throw-away stack."""
