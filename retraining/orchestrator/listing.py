"""All rows of one of Prefect's lists, which come in pages."""

from typing import TYPE_CHECKING, Any, Literal

from retraining.orchestrator.connection import PrefectConnection

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

Listed = Literal["/automations/filter", "/deployments/filter"]
PAGE = 200
"""The most rows that Prefect's API gives in one answer."""
OVERLAP = 20
"""Rows that two pages share: what is deleted while they are read moves the others up."""


async def all_rows(
    connection: PrefectConnection, path: Listed, wanted: dict[str, Any], *, page_size: int = PAGE
) -> list[dict[str, Any]]:
    """The rows that `wanted` describes, each once, as JSON; what is made meanwhile comes or not.

    As JSON, because to check a thousand of them would take the client longer than to fetch them.
    """
    overlap = min(OVERLAP, max(1, page_size // 5))
    rows: dict[str, dict[str, Any]] = {}
    offset = 0
    while True:
        body = {**wanted, "limit": page_size, "offset": offset}

        async def read(client: "PrefectClient", body: dict[str, Any] = body) -> list[dict[str, Any]]:
            answer: list[dict[str, Any]] = (await client.request("POST", path, json=body)).json()
            return answer

        page = await connection.ask(f"list {path.split('/')[1]}", read)
        if rows and (not page or page[0]["id"] not in rows):
            rows, offset = {}, 0  # so many were deleted that some may be missed: begin anew
            continue
        rows |= {row["id"]: row for row in page}
        if len(page) < page_size:
            return list(rows.values())
        offset += page_size - overlap
