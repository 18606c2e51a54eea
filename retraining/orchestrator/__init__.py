"""Jobs as flow runs: the door to Prefect, the deployments and the worker."""
