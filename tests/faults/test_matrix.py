"""A SIGKILL to every component while jobs are at every stage: nothing is lost, doubled or made up."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign
from tests.faults.harness import Harness
from tests.faults.matrix import CELLS, Round, draw

TABLE = Path(__file__).parents[2] / "build" / "faults" / "table.md"
FAULTS = int(os.environ.get("FAULTS", "200"))
SEED = int(os.environ.get("FAULTS_SEED", "20261124"))
JOBS_AT_ONCE = 4
"""As many as a worker has in hand."""

FEW = [Round("stack", ("waiting", "pending", "registering", "promoting"))]


def test_as_many_faults_of_each_kind_as_of_any_other() -> None:
    rounds = draw(len(CELLS) * 3, SEED, JOBS_AT_ONCE)
    drawn = [(one.component, stage) for one in rounds for stage in one.stages]
    assert {cell: drawn.count(cell) for cell in CELLS} == dict.fromkeys(CELLS, 3)
    assert all(len(set(one.stages)) == len(one.stages) <= JOBS_AT_ONCE for one in rounds)
    assert rounds == draw(len(CELLS) * 3, SEED, JOBS_AT_ONCE)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path, SEED)
    yield harness
    harness.close()


@pytest.mark.faults
@pytest.mark.stack
@pytest.mark.timeout(3 * 3600)
def test_no_fault_loses_doubles_or_invents_anything(
    harness: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled():
        _play(harness, draw(FAULTS, SEED, JOBS_AT_ONCE), TABLE)


@pytest.mark.stack
@pytest.mark.timeout(1200)
def test_a_stack_that_is_killed_leaves_the_truth(harness: Harness, tmp_path: Path) -> None:
    """The short form of the above: the fault that takes most with it."""
    _play(harness, FEW, tmp_path / "table.md")


def _play(harness: Harness, rounds: list[Round], table: Path) -> None:
    campaign = Campaign(harness, table)
    campaign.prepare()
    for one in rounds:
        campaign.play(one)
    campaign.finish()
    assert not campaign.all_violations, table.read_text()
