"""`retraining trigger`: triggers as code, their checks, and what these found."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text

from retraining.cli.client import FacadeClient, NotReachable, Refused, connect
from retraining.cli.shell import (
    HomeOption,
    JsonOption,
    Problem,
    as_moment,
    console,
    cut_to_fit,
    plain_table,
    print_json,
    shown_time,
)

if TYPE_CHECKING:
    from retraining.triggers.plan import Declared, Held, Plan

app = typer.Typer(help="Triggers: when jobs start by themselves.", no_args_is_help=True)
Answer = Mapping[str, Any]
Columns = Mapping[str, Callable[[Answer], str]]
TriggerId = Annotated[str, typer.Argument(metavar="TRIGGER_ID", help="The trigger's id from `trigger list`.")]

CHECK_SECONDS = 600.0
"""How long `check --wait` waits for the evaluation."""
POLL_SECONDS = 0.5


@app.command()
def apply(
    file: Annotated[
        Path,
        typer.Option(
            *("--file", "-f"),
            metavar="FILE",
            exists=True,
            dir_okay=False,
            allow_dash=True,
            help="YAML, or JSON if it is called .json; - reads YAML from standard input.",
        ),
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, change nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Make the triggers those of a file: create, change, and delete what is not in it.

    The file has a list under `triggers`, each as the REST API takes it: model_name, trigger_type,
    trigger_condition, enabled. Triggers have no names: the same condition is the same trigger; of the
    others, those of one model and type are paired in order and changed. Schedules made in Prefect are left
    alone.
    """
    from retraining.triggers.manifest import read_manifest
    from retraining.triggers.plan import plan_triggers

    name = "standard input" if str(file) == "-" else str(file)
    declared = read_manifest(_text(file, name), name, is_json=file.suffix == ".json")
    out = console()
    with connect(home) as facade:
        _refuse_unknown_models(facade, declared, name)
        held = [_held(trigger) for trigger in facade.triggers() if trigger["origin"] == "api"]
        plan = plan_triggers(declared, held)
        if plan.empty:
            out.print(f"nothing to change: {_counted(plan.unchanged)} as declared")
            return
        _print_plan(out, plan)
        if dry_run:
            return
        if not yes:
            typer.confirm("Apply this?", abort=True)
        _carry_out(facade, plan, name)
        out.print("applied")


@app.command("list")
def list_triggers(
    *,
    model_name: Annotated[str | None, typer.Option("--model", help="Only triggers of this model.")] = None,
    trigger_type: Annotated[
        str | None, typer.Option("--type", help="Only scheduled, drift or performance ones.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List triggers, newest first, those made in Prefect too."""
    with connect(home) as facade:
        triggers = [*facade.triggers(model_name=model_name, trigger_type=trigger_type)]
    if as_json:
        print_json(triggers)
        return
    # One line each: `trigger show` has all of it.
    _print_table(console(), LISTED, triggers, cell=cut_to_fit)


@app.command()
def show(
    trigger_id: TriggerId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="So many checks.")] = 20,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show a trigger and its checks, newest first: what each found, what was done, and why."""
    with connect(home) as facade:
        evaluations = facade.evaluations(trigger_id, limit)
        trigger = _find_trigger(facade, trigger_id)
    if as_json:
        print_json({"trigger": trigger, "evaluations": evaluations})
        return
    out = console()
    if trigger is None:
        out.print(f"trigger {trigger_id} is deleted; its history stays")
    else:
        due = ", ".join(map(_time, trigger["next_runs"])) or "-"
        out.print(
            f"{trigger['trigger_type']} trigger of {trigger['model_name']}, {_state(trigger)}, "
            f"made by {trigger['created_by']}\n"
            f"condition  {_condition_text(trigger['trigger_type'], trigger['trigger_condition'])}\n"
            f"due        {due}",
            soft_wrap=True,
        )
    if not evaluations:
        out.print("no checks so far")
        return
    _print_table(out, CHECKED, evaluations)


@app.command()
def check(
    trigger_id: TriggerId,
    *,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="Check as if it were this moment, UTC: 1998-04-01.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Make the drift report whatever is found.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for what it finds; exit 1 if the check fails.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Check a drift or performance trigger now."""
    moment = None if as_of is None else as_moment(as_of)
    out = console()
    with connect(home) as facade:
        started = facade.check_trigger(trigger_id, moment, report)
        out.print(f"check {started['check_id']} started, {started['links']['prefect']}", soft_wrap=True)
        if not wait:
            return
        found = _awaited(facade, trigger_id, started["check_id"])
    out.print(f"{_words(found['outcome'])}, {_words(found['action'])}: {found['reason']}", soft_wrap=True)
    if found["outcome"] == "failed":
        raise typer.Exit(1)


@app.command()
def delete(trigger_id: TriggerId, home: HomeOption = None) -> None:
    """Delete a trigger and the runs that it had planned; its history stays, and running jobs go on."""
    with connect(home) as facade:
        console().print(facade.delete_trigger(trigger_id))


def _text(file: Path, name: str) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Problem(f"{name} cannot be used, nothing was changed: it is not UTF-8") from exc


def _refuse_unknown_models(facade: FacadeClient, declared: "Iterable[Declared]", name: str) -> None:
    from retraining.errors import InvalidManifest

    known = sorted(model["name"] for model in facade.models())
    unknown = [
        (one.line, "model_name", f"{one.model_name!r} is no model; known models: {', '.join(known)}")
        for one in declared
        if one.model_name not in known
    ]
    if unknown:
        raise InvalidManifest(name, unknown)


def _held(trigger: Mapping[str, Any]) -> "Held":
    from retraining.jobs.job import TriggerType
    from retraining.triggers.plan import Held

    return Held(
        id=UUID(trigger["id"]),
        model_name=trigger["model_name"],
        trigger_type=TriggerType(trigger["trigger_type"]),
        condition=trigger["trigger_condition"],
        enabled=trigger["enabled"] or trigger["paused"],
        created_at=datetime.fromisoformat(trigger["created_at"]),
    )


def _print_plan(out: Console, plan: "Plan") -> None:
    table = plain_table("", "MODEL", "TYPE", "CONDITION", "TRIGGER")
    for new in plan.create:
        condition = _condition_text(new.trigger_type, new.condition)
        off = "" if new.enabled else ", disabled"
        table.add_row("+ create", new.model_name, new.trigger_type, condition + off, "")
    for change in plan.change:
        there, wanted = change.held, change.declared
        table.add_row(
            "~ change", there.model_name, there.trigger_type, _difference(there, wanted), str(there.id)
        )
    for gone in plan.delete:
        condition = _condition_text(gone.trigger_type, gone.condition)
        table.add_row("- delete", gone.model_name, gone.trigger_type, condition, str(gone.id))
    out.print(table)
    out.print(
        f"{len(plan.create)} to create, {len(plan.change)} to change, {len(plan.delete)} to delete, "
        f"{plan.unchanged} unchanged"
    )


def _difference(there: "Held", wanted: "Declared") -> str:
    from retraining.triggers.plan import whole_condition

    before = {**whole_condition(there.trigger_type, there.condition), "enabled": there.enabled}
    after = {**whole_condition(wanted.trigger_type, wanted.condition), "enabled": wanted.enabled}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_value(before.get(name))} → {_value(after.get(name))}" for name in names)


def _carry_out(facade: FacadeClient, plan: "Plan", name: str) -> None:
    """Create and change, or take back what was done if one is refused; only then delete."""
    undo: list[Callable[[], object]] = []
    line = 0
    try:
        for new in plan.create:
            line = new.line
            made = facade.create_trigger(
                {
                    "model_name": new.model_name,
                    "trigger_type": new.trigger_type,
                    "trigger_condition": dict(new.condition),
                    "enabled": new.enabled,
                }
            )
            undo.append(partial(facade.delete_trigger, made["id"]))
        for change in plan.change:
            line, there = change.declared.line, str(change.held.id)
            facade.change_trigger(there, change.fields)
            undo.append(partial(facade.change_trigger, there, change.fields_before))
    except (Refused, NotReachable) as exc:
        raise Problem(f"{name}, line {line}: {exc}; {_undone(undo, exc)}") from exc
    for gone in plan.delete:
        try:
            facade.delete_trigger(str(gone.id))
        except Refused as exc:
            if exc.error != "TriggerNotFound":  # somebody else was quicker
                raise


def _undone(undo: list[Callable[[], object]], failure: Refused | NotReachable) -> str:
    try:
        while undo:
            undo[-1]()
            undo.pop()
    except (Refused, NotReachable) as exc:
        left = f"{len(undo)} of the changes before it could not be taken back"
        return f"{left} ({exc}): apply again once that is mended"
    if isinstance(failure, NotReachable) and failure.asked:
        return "it may have been done all the same: apply again to see"
    return "nothing was changed"


def _find_trigger(facade: FacadeClient, trigger_id: str) -> dict[str, Any] | None:
    try:
        return facade.trigger(trigger_id)
    except Refused as exc:
        if exc.error == "TriggerNotFound":
            return None
        raise


def _awaited(facade: FacadeClient, trigger_id: str, check_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + CHECK_SECONDS
    while time.monotonic() < deadline:
        for one in facade.evaluations(trigger_id, 50):
            if one["id"] == check_id:
                return one
        time.sleep(POLL_SECONDS)
    raise Problem(f"check {check_id} has found nothing within {CHECK_SECONDS:g} s; does a worker run?")


def _print_table(
    out: Console, columns: Columns, answers: Iterable[Answer], *, cell: Callable[[str], Text] = Text
) -> None:
    """Print a table whose last column gives way on a narrow terminal: half an id is none."""
    table = plain_table()
    shown = [name for name in columns if out.width >= WIDE or name not in ONLY_IF_WIDE]
    for name in shown:
        table.add_column(name, no_wrap=name != shown[-1], min_width=36 if name == "TRIGGER" else None)
    for answer in answers:
        table.add_row(*(cell(columns[name](answer)) for name in shown))
    out.print(table)


def _condition_text(trigger_type: str, condition: Mapping[str, Any]) -> str:
    from retraining.jobs.job import TriggerType
    from retraining.triggers.plan import own_condition

    shown = own_condition(TriggerType(trigger_type), condition)
    return ", ".join(f"{name} {_value(value)}" for name, value in shown.items()) or "defaults"


def _value(value: object) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return "+".join(map(str, value))
        case str() if " " in value:
            return f'"{value}"'
    return str(value)


def _counted(number: int) -> str:
    return f"{number} trigger" if number == 1 else f"{number} triggers"


def _state(trigger: Answer) -> str:
    if trigger["paused"]:
        return "paused"
    return "enabled" if trigger["enabled"] else "disabled"


def _words(word: str) -> str:
    return word.replace("_", " ")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _time(text: str | None) -> str:
    return "-" if text is None else shown_time(text)


LISTED: Columns = {
    "TRIGGER": lambda trigger: trigger["id"],
    "MODEL": lambda trigger: trigger["model_name"],
    "TYPE": lambda trigger: trigger["trigger_type"],
    "STATE": _state,
    "NEXT": lambda trigger: _time(next(iter(trigger["next_runs"]), None)),
    "BY": lambda trigger: trigger["created_by"],
    "CONDITION": lambda trigger: _condition_text(trigger["trigger_type"], trigger["trigger_condition"]),
}
"""What `trigger list` shows of a trigger."""
CHECKED: Columns = {
    "CHECKED": lambda one: _time(one["at"]),
    "OUTCOME": lambda one: _words(one["outcome"]),
    "SCORE": lambda one: _number(one["score"]),
    "LIMIT": lambda one: _number(one["threshold"]),
    "IN A ROW": lambda one: f"{one['patience_count']} of {one['patience']}",
    "ACTION": lambda one: _words(one["action"]),
    "JOB": lambda one: one["job_id"] or "-",
    "REASON": lambda one: one["reason"],
}
"""What `trigger show` shows of a check."""
ONLY_IF_WIDE = frozenset({"NEXT", "BY", "SCORE", "LIMIT", "IN A ROW", "JOB"})
WIDE = 150
