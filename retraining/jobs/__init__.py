"""Retraining jobs: what they are, how they start and end, and how the store follows Prefect."""
