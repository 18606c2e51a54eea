"""`python -m retraining.demo [--keep]`."""

import argparse
import signal
import sys

from rich.console import Console

from retraining.cli.client import FacadeClient
from retraining.demo.stack import throw_away_stack
from retraining.demo.story import Story
from retraining.demo.timeline import DemoFailed, Timeline
from retraining.errors import RetrainingError

PIPE_WIDTH = 200
PATIENCE_SECONDS = 120
"""For a machine that is busy with something else."""


def main() -> int:
    """Play the demo; 0 if everything it shows happened."""
    parser = argparse.ArgumentParser(prog="python -m retraining.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the stack running, until Ctrl-C")
    keep = parser.parse_args().keep
    for stopping in (signal.SIGINT, signal.SIGTERM):  # a shell starts background commands with SIGINT ignored
        signal.signal(stopping, _interrupt)
    out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)
    timeline = Timeline(out)
    timeline.act("Starting Prefect, MLflow, a worker and the API on free ports")
    try:
        with throw_away_stack(lambda text: timeline.say("stack", text)) as (home, where):
            timeline.say("Prefect", where.prefect_ui_url)
            timeline.say("MLflow", where.mlflow_url)
            timeline.say("API", where.api_url)
            ready = timeline.seconds
            key = home.admin_key.read_text(encoding="utf-8").strip()
            with FacadeClient(where.api_url, key, PATIENCE_SECONDS) as facade:
                Story(facade, where, home, timeline).play()
            timeline.act(
                f"Everything happened, in {timeline.seconds - ready:.0f} s after the stack was ready"
            )
            if keep:
                timeline.say("stack", f"runs on in {home.path} until Ctrl-C; its key is in {home.admin_key}")
                signal.pause()
            timeline.say("stack", "shutting down")
    except (DemoFailed, RetrainingError) as failure:
        print(f"demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if keep else 130
    timeline.say("stack", "gone")
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
