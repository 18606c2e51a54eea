"""The Prefect flows. A run of one of them is a job."""
