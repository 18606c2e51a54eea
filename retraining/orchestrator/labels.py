"""Names under which a job's facts travel through Prefect."""

FLOW_NAME = "retrain"
"""The flow whose runs are the jobs; its deployment for a model is `retrain/<model>`."""

MONITOR_FLOW_NAME = "monitor"
"""The flow that checks triggers; its deployment for a model is `monitor/<model>`."""

GUARD_FLOW_NAME = "guard"
"""The flow that ends dead jobs and checks; its deployment for a work pool is `guard/<work pool>`."""

LABEL_PREFIX = "retraining."
"""Flow run labels: triggered_by, trigger_type, correlation_id, version_before, version_after,
challenger_version, decision, promoted, mlflow_run_url, peak_memory_mib."""

PROGRESS_EVENT = "retraining.job.progress"
"""Event on `prefect.flow-run.<id>`; payload: stage, fraction (0 to 1 or None), message."""

DRIFT_EVENT = "retraining.drift.detected"
PERFORMANCE_EVENT = "retraining.performance.degraded"
"""Events on `retraining.trigger.<id>` that start a job; payload: the cause."""

EVALUATED_EVENT = "retraining.trigger.evaluated"
"""Event on `retraining.trigger.<id>`; payload: the evaluation."""

TRIGGER_RESOURCE = "retraining.trigger."

TEMPLATE_PREFIX = "__prefect"
"""A value with a name that begins so is read as a template by Prefect, where a run's parameters are."""
