"""Names under which a job's facts travel through Prefect."""

FLOW_NAME = "retrain"
"""The flow whose runs are the jobs; its deployment for a model is `retrain/<model>`."""

LABEL_PREFIX = "retraining."
"""Flow run labels: triggered_by, trigger_type, correlation_id, version_before, version_after,
challenger_version, decision, promoted, mlflow_run_url."""

PROGRESS_EVENT = "retraining.job.progress"
"""Event on `prefect.flow-run.<id>`; payload: stage, fraction (0 to 1 or None), message."""
