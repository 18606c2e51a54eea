"""`retraining audit`: who did what."""

from typing import Annotated, Any

import typer

from retraining.cli.client import connect
from retraining.cli.shell import (
    HomeOption,
    JsonOption,
    as_moment,
    console,
    cut_to_fit,
    plain_table,
    print_json,
    shown_time,
)


def audit(
    actor: Annotated[str | None, typer.Option(help="Only what this caller did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action: job.start, key.revoke, ...")] = None,
    outcome: Annotated[str | None, typer.Option(help="asked, done, failed or refused.")] = None,
    model: Annotated[str | None, typer.Option(help="Only what concerns this model.")] = None,
    target: Annotated[str | None, typer.Option(help='Only what was done to this: "job 0198...".')] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from then on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Who did what, newest first; needs an administrator's key."""
    with connect(home) as facade:
        entries = facade.audit(
            actor=actor,
            action=action,
            outcome=outcome,
            model_name=model,
            target=target,
            since=as_moment(since, "--since") if since else None,
            limit=limit,
        )
    if as_json:
        print_json(entries)
        return
    table = plain_table("AT", "WHO", "FROM", "DID", "OUTCOME", "MODEL", "TO", "DETAILS")
    for one in entries:
        table.add_row(
            *(shown_time(one["at"]), one["actor"] or "-", one["address"] or one["credential"] or "-"),
            *(one["action"], one["outcome"], one["model_name"] or "-", one["target"] or "-"),
            cut_to_fit(_shown(one["details"])),
        )
    console().print(table)


def _shown(details: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in details.items() if value is not None) or "-"
