"""Links between answers, to Prefect and to MLflow."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from api.facade import Facade, facade_of
from retraining.jobs.job import JobSnapshot
from retraining.registry.pages import at_todays_address, model_page
from retraining.triggers.evaluation import Evaluation

LOCATION: dict[str, Any] = {
    "headers": {"Location": {"description": "The path of what was made.", "schema": {"type": "string"}}}
}
"""For OpenAPI: an answer that says where the new job or trigger is."""
NEXT_PAGE: dict[str, Any] = {
    "headers": {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}
}
"""For OpenAPI: an answer that may have a next page."""


def path_to(request: Request, route: str, **parameters: object) -> str:
    """The path of a route as this caller sees it, under whatever prefix the facade is mounted.

    Without scheme and host: those of the request may be a proxy's inner ones.
    """
    return request.url_for(route, **parameters).path


def job_links(request: Request, job_id: UUID, model_name: str) -> dict[str, str]:
    """Where a job, its events and logs are, and where Prefect and MLflow show it."""
    facade = facade_of(request)
    return {
        "self": path_to(request, "get_retraining_job", job_id=job_id),
        "events": path_to(request, "follow_retraining_job", job_id=job_id),
        "logs": path_to(request, "get_retraining_job_logs", job_id=job_id),
        "prefect": facade.orchestrator.run_url(job_id),
        "mlflow": model_page(facade.settings.mlflow, model_name),
    }


def with_todays_links(facade: Facade, jobs: list[JobSnapshot]) -> list[JobSnapshot]:
    """The same jobs, their training where MLflow is today: what is stored is of the day when a job ran."""
    mlflow = facade.settings.mlflow
    for job in jobs:
        if job.mlflow_run_url is not None:
            job.mlflow_run_url = at_todays_address(job.mlflow_run_url, mlflow)
    return jobs


async def with_reports(facade: Facade, job: JobSnapshot) -> JobSnapshot:
    """The same job, each cause that is a breach with the report of it."""
    found = {cause["evaluation_id"] for cause in job.causes if cause.get("evaluation_id")}
    if found:
        urls = await facade.triggers.report_urls([UUID(evaluation_id) for evaluation_id in found])
        today = {str(key): at_todays_address(url, facade.settings.mlflow) for key, url in urls.items()}
        job.causes = [
            {**cause, "report_url": today.get(cause.get("evaluation_id", ""))} for cause in job.causes
        ]
    return job


def with_todays_report(facade: Facade, evaluation: Evaluation) -> Evaluation:
    """The evaluation with its report where MLflow is today."""
    if evaluation.report_url is None:
        return evaluation
    today = at_todays_address(evaluation.report_url, facade.settings.mlflow)
    return evaluation.model_copy(update={"report_url": today})


def check_links(request: Request, trigger_id: UUID, check_id: UUID) -> dict[str, str]:
    """Where a check's evaluation will be, its trigger is, and where Prefect shows the check."""
    return {
        "trigger": path_to(request, "get_retraining_trigger", trigger_id=trigger_id),
        "evaluations": path_to(request, "list_retraining_trigger_evaluations", trigger_id=trigger_id),
        "prefect": facade_of(request).orchestrator.run_url(check_id),
    }


def link_next_page(request: Request, response: Response, **changes: str | int) -> None:
    """Add the `Link` header of the next page: this request's query with these parameters changed."""
    query = {key: value for key, value in request.query_params.items() if key not in {"cursor", "offset"}}
    query |= {key: str(value) for key, value in changes.items()}
    response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
