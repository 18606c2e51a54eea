"""`make demo`, without the environment that make sets up."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.demo.conftest import COMMAND, PlayedDemo, demo_environment
from tests.stack.waiting import until

pytestmark = pytest.mark.stack


def test_ctrl_c_ends_the_demo_and_its_stack(tmp_path: Path, demo: PlayedDemo) -> None:
    """Exit code 130, no process and no file is left. Another demo goes on beside it."""
    process = subprocess.Popen(COMMAND, env=demo_environment(tmp_path), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until(lambda: "keys done" in process.stdout.readline(), 60)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped" in said
    assert list(tmp_path.iterdir()) == []
    assert demo.process.poll() is None, demo.said.read_text()


@pytest.mark.at_the_end
@pytest.mark.timeout(600)
def test_the_demo_shows_what_it_promises(demo: PlayedDemo) -> None:
    """Promotions with the error in dollars, a refusal, a failure, a cancel, a model that serves."""
    code = demo.process.wait(590)
    said = demo.said.read_text()
    assert code == 0, said
    for shown in (
        r"churn +version 1 promoted: first version",
        r"churn +drift trigger fires: \d+ of 12 columns drifted",
        r"churn +version 2 promoted: roc_auc [\d.]+ improves on the champion's",
        r"churn +drift trigger stays silent: ",
        r"churn +performance trigger stays silent: roc_auc",
        r"profitability +performance trigger fires: mae",
        r"profitability +version 3 refused: r2 -[\d.]+ is below the guard's minimum",
        r"profitability +mean error .* same holdout: \$[\d.]+ before, \$[\d.]+ after \([4-9]\d% less\)",
        r"churn +failed: .*no rows",
        r"profitability +cancelled",
        r"churn +chance that each of \d customers is lost",
        r"(?m)^profitability  2 .* to now ",
    ):
        assert re.search(shown, said), (shown, said)
    assert list(demo.temporary.iterdir()) == []  # nothing is left of its home
