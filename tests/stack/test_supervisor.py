"""The supervisor with small components of our own; `test_up` has the real ones."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from retraining.errors import ComponentFailed, HomeInUse
from retraining.stack.component import Component
from retraining.stack.home import Home
from retraining.stack.ports import choose_ports
from retraining.stack.processes import alive, members
from retraining.stack.supervisor import Supervisor
from tests.stack.small_stack import small_server
from tests.stack.waiting import eventually, until

ROOT = Path(__file__).parents[2]


@contextmanager
def small_stack(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """A supervisor in a process of its own, ready, with the ids of its components."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stack.small_stack", str(home), *options],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        process.kill()
    until(lambda: not members(Home(home).mark()))


@asynccontextmanager
async def supervised(
    home: Path, components: list[Component], news: list[str] | None = None
) -> AsyncIterator[Supervisor]:
    place = Home(home)
    place.prepare()
    lock = place.lock()
    said = [] if news is None else news
    supervisor = Supervisor(
        components,
        home=place,
        environment={**os.environ, "ENDS": str(home / "ends.txt")},
        lock=lock,
        say=said.append,
        changed=lambda pids: said.append(json.dumps(pids)),
    )
    try:
        async with supervisor:
            await supervisor.start()
            yield supervisor
    finally:
        os.close(lock)


@pytest.fixture
def ports() -> list[int]:
    return list(choose_ports("127.0.0.1", {"a": 0, "b": 0, "c": 0}).values())


async def test_components_start_in_the_order_of_their_needs(tmp_path: Path, ports: list[int]) -> None:
    """A component starts once what it needs is ready, and a step counts as ready when it has ended."""
    step = Component("step", (sys.executable, "-c", "print('done')"), needs=("first",))
    news: list[str] = []
    components = [small_server("last", ports[1], needs=("step",)), step, small_server("first", ports[0])]
    async with supervised(tmp_path, components, news) as stack:
        assert [line.split()[0] for line in news[:3]] == ["first", "step", "last"]
        assert set(stack.pids) == {"first", "last"}
    assert "done" in Home(tmp_path).log("step").read_text()


async def test_everything_ends_with_the_block_even_what_left_its_session(
    tmp_path: Path, ports: list[int]
) -> None:
    """No process is left, grandchildren in sessions of their own and deaf to SIGTERM included."""
    components = [small_server("server", ports[0], "grandchild", "stubborn")]
    mark = ""
    async with supervised(tmp_path, components):
        mark = Home(tmp_path).mark()
        assert len(members(mark)) == 2
    assert members(mark) == set()


async def test_a_component_that_dies_comes_back_on_its_port(tmp_path: Path, ports: list[int]) -> None:
    """After kill -9 it runs under a new process id, and its orphaned children are gone."""
    async with supervised(tmp_path, [small_server("server", ports[0], "grandchild")]) as stack:
        before = stack.pids["server"]
        orphans = members(Home(tmp_path).mark()) - {before}
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: stack.pids.get("server") not in {None, before})
        await eventually(lambda: _answers(ports[0]))
        assert not any(map(alive, orphans))


async def test_the_children_of_a_worker_outlive_it(tmp_path: Path, ports: list[int]) -> None:
    """Jobs under way go on when their worker is killed and started again."""
    worker = small_server("worker", ports[0], "grandchild", runs_jobs=True)
    async with supervised(tmp_path, [worker]) as stack:
        before = stack.pids["worker"]
        (job,) = members(Home(tmp_path).mark()) - {before}
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: stack.pids.get("worker") not in {None, before})
        assert alive(job)
    assert not alive(job)


async def test_jobs_end_before_their_worker_and_both_before_the_servers(
    tmp_path: Path, ports: list[int]
) -> None:
    """Whoever needs another to tell how it ended goes before it."""
    worker = small_server("worker", ports[0], "grandchild", runs_jobs=True)
    async with supervised(tmp_path, [small_server("server", ports[1]), worker]):
        pass
    ends = [line.split()[0] for line in (tmp_path / "ends.txt").read_text().splitlines()]
    assert ends == ["grandchild", "worker", "server"]


async def test_a_component_that_keeps_dying_is_started_later_and_later(
    tmp_path: Path, ports: list[int]
) -> None:
    """The pause doubles, and the end of the log is shown."""
    news: list[str] = []
    async with supervised(tmp_path, [small_server("server", ports[0])], news) as stack:
        for _ in range(2):
            pid = stack.pids["server"]
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda pid=pid: stack.pids.get("server") not in {None, pid})
            await eventually(lambda: _answers(ports[0]))
    deaths = [line for line in news if "starts again" in line]
    assert ["again in 0.5 s" in deaths[0], "again in 1 s" in deaths[1]] == [True, True]
    assert f"listening on {ports[0]}" in deaths[0]


async def test_a_component_that_cannot_start_takes_the_others_with_it(
    tmp_path: Path, ports: list[int]
) -> None:
    """The error names the component, its log and the log's last lines; nothing is left."""
    broken = Component(
        "broken", (sys.executable, "-c", "raise SystemExit('no such thing')"), needs=("server",)
    )
    with pytest.raises(ComponentFailed, match=r"(?s)broken ended with exit code 1.*no such thing") as failure:
        async with supervised(tmp_path, [small_server("server", ports[0]), broken]):
            pass
    assert failure.value.log == str(Home(tmp_path).log("broken"))
    assert members(Home(tmp_path).mark()) == set()


async def test_a_component_that_is_never_ready_is_given_up(tmp_path: Path, ports: list[int]) -> None:
    """A server that answers nothing within its time has failed."""
    silent = small_server("silent", ports[0], health=_never, ready_within=0.3)
    with pytest.raises(ComponentFailed, match="was not ready after"):
        async with supervised(tmp_path, [silent]):
            pass


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_supervisor(tmp_path: Path, how: signal.Signals) -> None:
    """Whether it is asked to end or killed, every process of the stack is gone soon after."""
    with small_stack(tmp_path, "grandchild") as (supervisor, pids):
        assert all(map(alive, pids.values()))
        supervisor.send_signal(how)
        supervisor.wait(15)
        until(lambda: not members(Home(tmp_path).mark()), 10)
        assert not any(map(alive, pids.values()))


def test_a_home_is_free_again_when_a_killed_stack_is_cleared_up(tmp_path: Path) -> None:
    """The next stack waits for the watchdog instead of meeting what it still has to end."""
    with small_stack(tmp_path, "stubborn") as (supervisor, first):
        supervisor.kill()
        with small_stack(tmp_path) as (_, second):
            assert not any(map(alive, first.values()))
            assert all(map(alive, second.values()))


def test_a_home_in_use_is_refused(tmp_path: Path) -> None:
    """The error names the process that has it."""
    with (
        small_stack(tmp_path) as (supervisor, _),
        pytest.raises(HomeInUse, match=f"process {supervisor.pid}"),
    ):
        Home(tmp_path).lock()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}").is_success
    except httpx.HTTPError:
        return False


async def _never(_: httpx.AsyncClient) -> bool:
    return False
