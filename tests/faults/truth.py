"""What must hold after a fault, read from outside: facade, Prefect, MLflow, and the trainings' own file."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.faults.harness import FINAL, Harness, Subject
from tests.faults.matrix import Component, Stage

STATUS = {
    "SCHEDULED": "pending",
    "PENDING": "pending",
    "RUNNING": "running",
    "CANCELLING": "running",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "cancelled",
}
"""How the facade calls what Prefect says."""
BEGINNING = datetime.fromtimestamp(0, UTC)
UNHARMED: frozenset[Component] = frozenset({"facade", "warm", "worker", "prefect"})
"""Their death costs no job."""
RETRIED: frozenset[Component] = frozenset({"mlflow"})
"""Jobs wait for it, as long as that makes sense."""


def expected(component: Component, stage: Stage) -> set[str]:
    """The final statuses that are the truth about a job."""
    if stage == "cancelling":
        return {"cancelled"}
    if component in RETRIED:
        return {"completed", "failed"}
    if component in UNHARMED or stage in {"waiting", "pending"}:
        return {"completed"}
    if component == "stack" and stage == "submitting":
        return {"completed"}
    return {"failed"}


def violations(harness: Harness, component: Component, subject: Subject) -> Iterator[str]:
    """What is not as it must be with a job that met a fault."""
    job, status = subject.final, subject.final.get("status")
    if status not in FINAL:
        yield f"job {subject.job_id} has no final status: {harness.job(subject.job_id)}"
        return
    if status not in expected(component, subject.stage):
        yield f"job {subject.job_id} is {status}: {job['error_message']}"
    if status == "failed" and not job["error_message"]:
        yield f"job {subject.job_id} failed without a reason"
    for job_id in subject.ids:
        run = harness.run(job_id)
        shown = harness.job(job_id)["status"]
        if STATUS[run["state_type"]] != shown:
            yield f"job {job_id} is {shown} in the facade, {run['state_name']} in Prefect"
    promoted = [one for one in promotions(harness, subject.model) if one["job_id"] == subject.job_id]
    decided = subject.stage == "promoting" and not subject.worse
    if subject.worse and promoted:
        yield f"job {subject.job_id} became champion with a worse model: {promoted}"
    if status == "completed" and bool(promoted) is subject.worse:
        yield f"job {subject.job_id} is completed, its promotions are {promoted}: {job['decision']}"
    if status != "completed" and promoted and not decided:
        yield f"job {subject.job_id} is {status} and became champion: {promoted}"


def promotions(harness: Harness, model: str) -> list[dict[str, Any]]:
    with harness.facade() as facade:
        return facade.promotions(model)


def champion_violations(harness: Harness, model: str) -> Iterator[str]:
    """The alias in MLflow is where the history says, and nothing came into the history by itself."""
    aliases = {one["alias"]: one["version"] for one in harness.registered(model).get("aliases", [])}
    history = promotions(harness, model)
    if aliases.get("champion") != history[0]["version"]:
        yield f"{model}: champion is {aliases}, the history says {history[0]}"
    for one in history:
        if one["kind"] != "promotion" or one["by"] != f"job {one['job_id']}" or not one["reason"]:
            yield f"{model}: nobody decided {one}"
    for version, times in Counter(one["version"] for one in history).items():
        if times > 1:
            yield f"{model}: version {version} was promoted {times} times"


def double_trainings(harness: Harness) -> Iterator[str]:
    for job_id, times in Counter(harness.holding.trainings()).items():
        if times > 1:
            yield f"job {job_id} ran {times} times"


def disagreements(harness: Harness, models: Sequence[str], since: datetime = BEGINNING) -> list[str]:
    """Jobs of these models that the facade and Prefect do not tell alike."""
    with harness.facade() as facade:
        jobs = {
            job["id"]: job["status"]
            for model in models
            for job in facade.jobs(model_name=model, limit=500)
            if datetime.fromisoformat(job["created_at"]) >= since
        }
    found = []
    for job_id, status in jobs.items():
        if STATUS[(run := harness.run(job_id))["state_type"]] != status:
            found.append(f"job {job_id} is {status} in the facade, {run['state_name']} in Prefect")
    return found
