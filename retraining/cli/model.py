"""`retraining model`: the catalog, versions, and who is champion."""

from typing import Annotated, Any

import typer

from retraining.cli.client import connect
from retraining.cli.shell import HomeOption, JsonOption, console, plain_table, print_json, shown_time

app = typer.Typer(help="Models, their versions, and who is champion.", no_args_is_help=True)
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model of the catalog.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.")]


@app.command("list")
def list_models(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the catalog, each model with its champion."""
    with connect(home) as facade:
        models = facade.models()
    if as_json:
        print_json(models)
        return
    table = plain_table("MODEL", "TASK", "METRIC", "CHAMPION", "SCORE", "PREVIOUS", "SOURCE")
    for model in models:
        champion = model["champion"] or {"version": "-", "metrics": {}}
        metric = model["metric"]["name"]
        table.add_row(
            *(model["name"], model["task"], metric, champion["version"]),
            *(_score(champion["metrics"], metric), model["previous"] or "-", model["source"]),
        )
    console().print(table)


@app.command()
def versions(model_name: ModelName, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List a model's versions, newest first, and when each was champion."""
    with connect(home) as facade:
        found = facade.versions(model_name)
    if as_json:
        print_json(found)
        return
    table = plain_table("VERSION", "NOW", "CREATED", "METRICS", "BECAME CHAMPION", "DECISION")
    for version in found:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in sorted(version["metrics"].items()))
        crowned = ", ".join(shown_time(one["at"]) for one in version["promotions"])
        table.add_row(
            *(version["version"], ", ".join(version["aliases"]) or "-", shown_time(version["created_at"])),
            *(scores, crowned or "-", version["decision"] or "-"),
        )
    console().print(table)


@app.command()
def promote(
    model_name: ModelName,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    reason: Reason = None,
    home: HomeOption = None,
) -> None:
    """Make a version champion."""
    with connect(home) as facade:
        console().print(facade.promote(model_name, version, reason))


@app.command()
def rollback(
    model_name: ModelName,
    from_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The champion to leave: makes repeating harmless.")
    ] = None,
    reason: Reason = None,
    home: HomeOption = None,
) -> None:
    """Make the previous champion champion again."""
    with connect(home) as facade:
        console().print(facade.roll_back(model_name, reason, from_version))


def _score(metrics: dict[str, Any], name: str) -> str:
    return f"{metrics[name]:.4g}" if name in metrics else "-"
