"""What happens in the demo. Each act asserts what it shows."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

from rich.table import Table

from retraining.cli.client import FacadeClient
from retraining.demo.timeline import DemoFailed, Timeline
from retraining.stack.home import Home
from retraining.stack.stack_file import Addresses

SUMMER_1997 = "1997-07-01T00:00:00Z"
SUMMER_1998 = "1998-07-01T00:00:00Z"
"""When the labels of the last snapshot, 1998-04-01, are complete."""
BEFORE_ANY_LABEL = "1997-02-01T00:00:00Z"
MAE_MUST_FALL_BY = 0.4
ENDLESS_TREES = 20_000
CHECK_EVERY = "20s"
CHECK_SECONDS = 120
LOOK_SECONDS = 0.5
SERVE_SECONDS = 120
SERVE = """
import json, mlflow
address = "models:/churn@champion"
model = mlflow.sklearn.load_model(address)
customers = mlflow.models.Model.load(address).load_input_example(address)
print(json.dumps([round(float(row[1]), 3) for row in model.predict_proba(customers)]))
"""
"""What a team's own service does; it needs nothing but MLflow."""

Event = dict[str, Any]
Job = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Scores of champion and challenger on the same holdout."""

    metric: str
    before: float
    after: float


class Story:
    """The demo's acts, on a stack that is ready."""

    def __init__(self, facade: FacadeClient, where: Addresses, home: Home, timeline: Timeline) -> None:
        self._facade = facade
        self._where = where
        self._home = home
        self._timeline = timeline

    def play(self) -> None:
        """All acts. Raises DemoFailed at the first thing that does not happen."""
        with self._timeline.drawing():
            self._timeline.act("Summer 1997: the first versions")
            together(lambda: self._first("churn"), lambda: self._first("profitability"))
            self._timeline.act("A year of purchases later: nobody asks, but three triggers watch")
            together(self._churn_is_watched, self._profitability_gets_worse)
            self._timeline.act("What does not pass: shuffled labels, and a month without labels")
            together(self._shuffled_is_refused, self._without_labels_fails)
            self._timeline.act("A job that takes too long is cancelled; churn is served from the registry")
            together(self._endless_is_cancelled, self._serve)
        self._timeline.act("Who was champion when")
        self._show_versions()

    def _first(self, model_name: str) -> None:
        job = self._run(model_name, SUMMER_1997)
        expect(job, "completed", promoted=True)
        check(job["model_version_after"] == "1", f"{model_name}'s first version is champion", job)
        self._outcome(job)

    def _churn_is_watched(self) -> None:
        self._churn_predicts_well()
        self._churn_drifts()

    def _churn_drifts(self) -> None:
        """Fires; against the new champion the same trigger is silent."""
        drift = self._watch("churn", "drift", {})
        job = self._fired(drift)
        expect(job, "completed", promoted=True)
        check(job["trigger_type"] == "drift", "the job says what caused it", job)
        scores = comparison_of(job)
        check(scores.after > scores.before, "churn's ROC AUC rises", job)
        self._outcome(job)
        self._facade.check_trigger(drift, None, report=False)
        self._say_silent("churn", "drift", self._evaluation(drift, champion=job["model_version_after"]))

    def _profitability_gets_worse(self) -> None:
        job = self._fired(self._watch("profitability", "performance", {"max_drop": 0.1}))
        expect(job, "completed", promoted=True)
        scores = comparison_of(job)
        fall = 1 - scores.after / scores.before
        check(fall >= MAE_MUST_FALL_BY, f"the error falls by {MAE_MUST_FALL_BY:.0%} at least", job)
        self._outcome(job)
        self._timeline.say(
            "profitability",
            f"mean error per customer on the same holdout: ${scores.before:.2f} before, "
            f"${scores.after:.2f} after ({fall:.0%} less)",
            style="green",
        )

    def _churn_predicts_well(self) -> None:
        """The champion of 1997 predicts no worse than it did: no reason to fire."""
        steady = self._watch("churn", "performance", {})
        self._say_silent("churn", "performance", self._evaluation(steady))
        self._facade.change_trigger(steady, {"enabled": False})

    def _shuffled_is_refused(self) -> None:
        job = self._run("profitability", SUMMER_1998, shuffle_labels=True)
        expect(job, "completed", promoted=False)
        check(job["model_version_after"] == job["model_version_before"], "the champion stays", job)
        self._outcome(job, style="yellow")

    def _without_labels_fails(self) -> None:
        job = self._run("churn", BEFORE_ANY_LABEL)
        expect(job, "failed")
        check(bool(job["error_message"]), "a failed job says why", job)
        self._outcome(job, style="yellow")

    def _endless_is_cancelled(self) -> None:
        def cancel_once_training(event: Event) -> None:
            if event["stage"] == "training" and event["progress"] and not asked:
                asked.append(self._facade.cancel_job(event["job_id"]))
                self._timeline.say("profitability", asked[0])

        asked: list[str] = []
        job = self._run("profitability", SUMMER_1998, on_event=cancel_once_training, max_iter=ENDLESS_TREES)
        expect(job, "cancelled")
        champion = next(one for one in self._facade.models() if one["name"] == "profitability")["champion"]
        check(champion["version"] != job["challenger_version"], "the champion stays", job)
        self._outcome(job, style="yellow")

    def _serve(self) -> None:
        self._timeline.say("churn", 'mlflow.sklearn.load_model("models:/churn@champion")')
        variables = dict(line.split("=", 1) for line in self._home.cli_env.read_text().splitlines())
        served = subprocess.run(  # noqa: S603 - our own lines
            [sys.executable, "-c", SERVE],
            env={**os.environ, **variables, "TMPDIR": str(self._home.path)},
            capture_output=True,
            text=True,
            timeout=SERVE_SECONDS,
            check=False,
        )
        if served.returncode:
            raise DemoFailed(f"the champion cannot be served:\n{served.stderr[-2000:]}")
        chances = json.loads(served.stdout.splitlines()[-1])
        check(
            bool(chances) and all(0 <= chance <= 1 for chance in chances), "probabilities come out", chances
        )
        shown = ", ".join(f"{chance:.0%}" for chance in chances)
        self._timeline.say(
            "churn", f"chance that each of {len(chances)} customers is lost: {shown}", style="green"
        )

    def _show_versions(self) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in ("MODEL", "VERSION", "AS OF", "SCORE", "CHAMPION", "DECISION"):
            table.add_column(title, no_wrap=title != "DECISION")
        for model in sorted(self._facade.models(), key=lambda one: str(one["name"])):
            metric = model["metric"]["name"]
            reigns = reigns_of(self._facade.promotions(model["name"]))
            versions = self._facade.versions(model["name"])
            check(len(reigns) >= 2, f"{model['name']} had two champions", reigns)
            for version in reversed(versions):
                job = self._facade.job(version["job_id"])
                table.add_row(
                    *(model["name"], version["version"], (job["as_of"] or job["started_at"])[:10]),
                    f"{metric} {version['metrics'][metric]:.4g}",
                    reigns.get(version["version"], "never"),
                    version["decision"],
                )
        self._timeline.table(table)

    def _watch(self, model_name: str, trigger_type: str, condition: dict[str, Any]) -> str:
        """Create a trigger that checks by itself; its id."""
        created = self._facade.create_trigger(
            {
                "model_name": model_name,
                "trigger_type": trigger_type,
                "trigger_condition": {**condition, "check_every": CHECK_EVERY},
            }
        )
        self._timeline.say(model_name, f"a {trigger_type} trigger checks every {CHECK_EVERY} from now on")
        return str(created["id"])

    def _evaluation(
        self, trigger_id: str, *, champion: str | None = None, job: bool = False
    ) -> dict[str, Any]:
        """The trigger's first evaluation: of this champion, or with the job that it started.

        Raises:
            DemoFailed: there is none for too long.
        """
        deadline = time.monotonic() + CHECK_SECONDS
        seen: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            seen = self._facade.evaluations(trigger_id, limit=20)
            for evaluation in reversed(seen):
                of_champion = champion in {None, evaluation["champion_version"]}
                if of_champion and (evaluation["job_id"] is not None or not job):
                    return dict(evaluation)
            time.sleep(LOOK_SECONDS)
        raise DemoFailed(f"trigger {trigger_id} was not evaluated so within {CHECK_SECONDS} s; seen: {seen}")

    def _fired(self, trigger_id: str) -> Job:
        """Wait until the trigger has fired by itself, and follow its job to the end."""
        evaluation = self._evaluation(trigger_id, job=True)
        self._facade.change_trigger(trigger_id, {"enabled": False})  # the demo's machine is small
        model_name = evaluation["model_name"]
        self._timeline.say(
            model_name, f"{evaluation['trigger_type']} trigger fires: {evaluation['reason']}", style="yellow"
        )
        if evaluation["report_url"]:
            self._timeline.say(model_name, f"report in MLflow: {evaluation['report_url']}")
        for _ in self._timeline.follow(model_name, self._facade.events(evaluation["job_id"])):
            pass
        return self._facade.job(evaluation["job_id"])

    def _say_silent(self, model_name: str, trigger_type: str, evaluation: dict[str, Any]) -> None:
        check(
            evaluation["outcome"] == "quiet", f"{model_name}'s {trigger_type} trigger is silent", evaluation
        )
        self._timeline.say(
            model_name, f"{trigger_type} trigger stays silent: {evaluation['reason']}", style="green"
        )

    def _run(
        self,
        model_name: str,
        as_of: str,
        on_event: Callable[[Event], None] = lambda _: None,
        **parameters: Any,
    ) -> Job:
        """Start a job through the REST API, and follow it to its end."""
        started = self._facade.start_job(model_name, parameters, as_of)
        what = "".join(f", {name} {value}" for name, value in parameters.items())
        self._timeline.say(model_name, f"job as of {as_of[:10]}{what}: {started['links']['prefect']}")
        for event in self._timeline.follow(model_name, self._facade.events(started["job_id"])):
            on_event(event)
        return self._facade.job(started["job_id"])

    def _outcome(self, job: Job, style: str = "green") -> None:
        why = job["error_message"] or job["decision"] or ""
        self._timeline.say(job["model_name"], f"{outcome_of(job)}: {why}", style=style)
        if job["mlflow_run_url"]:
            self._timeline.say(job["model_name"], f"in MLflow: {job['mlflow_run_url']}")


def together(*scenes: Callable[[], None]) -> None:
    """Play scenes at the same time. The first one that fails, or Ctrl-C, waits for no other."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def play(scene: Callable[[], None]) -> None:
        try:
            scene()
        except BaseException as exc:
            ended.put(exc)
        else:
            ended.put(None)

    for scene in scenes:
        Thread(target=play, args=(scene,), daemon=True).start()
    for _ in scenes:
        if (failure := ended.get()) is not None:
            raise failure


def outcome_of(job: Job) -> str:
    """How a job ended, in a word."""
    if job["status"] == "completed":
        return f"version {job['challenger_version']} {'promoted' if job['promoted'] else 'refused'}"
    return str(job["status"])


def reigns_of(promotions: list[dict[str, Any]]) -> dict[str, str]:
    """From when to when each version was champion, by version. `promotions` come newest first."""
    ends = ["now", *(one["at"][11:19] for one in promotions)]
    reigns: dict[str, str] = {}
    for promotion, end in zip(promotions, ends, strict=False):
        reign = f"{promotion['at'][11:19]} to {end}"
        later = reigns.get(promotion["version"])
        reigns[promotion["version"]] = f"{reign}, {later}" if later else reign
    return reigns


def comparison_of(job: Job) -> Comparison:
    """The scores that the job's decision speaks of. Raises DemoFailed if it does not."""
    found = re.match(r"(\w+) ([\d.,]+) .*?the champion's ([\d.,]+)", job["decision"] or "")
    if found is None:
        raise DemoFailed(f"the decision names no scores: {job['decision']!r}")
    after, before = (float(score.replace(",", "")) for score in found.groups()[1:])
    return Comparison(found[1], before, after)


def expect(job: Job, status: str, *, promoted: bool | None = None) -> None:
    """Raise DemoFailed unless the job ended so."""
    wanted = status if promoted is None else f"{status}, {'' if promoted else 'not '}promoted"
    check(job["status"] == status, f"{job['model_name']} ends as {wanted}", job)
    check(promoted is None or job["promoted"] is promoted, f"{job['model_name']} ends as {wanted}", job)


def check(happened: bool, what: str, seen: object) -> None:
    """Raise DemoFailed unless it happened."""
    if not happened:
        raise DemoFailed(f"expected that {what}; seen: {json.dumps(seen, default=str)}")
