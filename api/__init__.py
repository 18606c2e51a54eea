"""The REST facade: routes, errors, authentication and wiring; the work is done in `retraining`."""
