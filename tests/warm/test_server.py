"""When the warm server is started, replaced, left out, and when it goes."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from retraining.stack.processes import COMPONENT
from retraining.warm import launcher
from tests.warm.launching import Launching, until

PARENT = "import os; print(os.getppid())"


@pytest.fixture
def fresh(warm: Launching) -> Launching:
    """No server runs."""
    warm.kill_servers()
    return warm


def test_a_killed_server_is_started_again_by_the_next_job(fresh: Launching) -> None:
    fresh.run("")
    (first,) = fresh.servers()
    os.kill(first, signal.SIGKILL)
    fresh.run("")
    (second,) = fresh.servers()
    assert second != first


def test_jobs_run_on_when_the_server_is_killed(fresh: Launching) -> None:
    """Signals and exit codes are relayed as before."""
    source = (
        "import signal, sys\n"
        "signal.signal(15, lambda n, f: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    job = fresh.start(fresh.module("surviving", source))
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    keepers = {pid for pid in fresh.processes() if pid not in fresh.servers()}
    (server,) = fresh.servers()
    os.kill(server, signal.SIGKILL)
    until(lambda: server not in fresh.processes())
    assert keepers <= fresh.processes()
    job.terminate()
    assert fresh.end(job).code == 5


def test_jobs_that_start_together_share_one_server(fresh: Launching) -> None:
    name = fresh.module("together", "import mlflow")
    jobs = [fresh.start(name) for _ in range(4)]
    assert [(ended.code, ended.stderr) for ended in map(fresh.end, jobs)] == [(0, "")] * 4
    assert len(fresh.servers()) == 1


def test_the_next_job_runs_the_new_code_of_a_catalog_module(warm: Launching) -> None:
    """Of a module that the server has imported, without anybody restarting anything."""
    env = {"RETRAINING_MODELS": "team_models:broken"}
    source = "import sys; print('team_models' in sys.modules); import team_models; print(team_models.VALUE)"
    said = []
    for value in (1, 2):
        warm.module("team_models", f"VALUE = {value}\nbroken = None")
        said.append(warm.run(source, env=env).stdout)
    again = warm.run(source, env=env).stdout
    assert [line.split()[-1] for line in (*said, again)] == ["1", "2", "2"]
    assert again.split()[0] == "True"


def test_an_idle_server_imports_changed_code_before_the_next_job_comes(fresh: Launching) -> None:
    env = {"RETRAINING_MODELS": "team_models:broken"}
    source = "import sys; print('team_models' in sys.modules); import team_models; print(team_models.VALUE)"
    fresh.module("team_models", "VALUE = 1\nbroken = None")
    fresh.run(source, env=env)
    before = fresh.servers()
    fresh.module("team_models", "VALUE = 2\nbroken = None")
    until(lambda: len(fresh.servers() - before) == 1 and not fresh.servers() & before)
    assert fresh.run(source, env=env).stdout == "True\n2\n"


def test_another_environment_is_another_servers(fresh: Launching) -> None:
    """What an import has read must not be what another job's environment says."""
    fresh.run("", env={"TEAM": "a"})
    assert fresh.run("import os; print(os.environ['TEAM'])", env={"TEAM": "b"}).stdout == "b\n"
    assert len(fresh.servers()) == 2


def test_the_workers_of_a_stack_share_a_server(fresh: Launching) -> None:
    said = [
        fresh.run(f"import os; print(os.environ['{COMPONENT}'], os.environ['PREFECT__ID'])", env=env).stdout
        for env in ({COMPONENT: f"worker-{n}", "PREFECT__ID": str(n)} for n in (1, 2))
    ]
    assert said == ["worker-1 1\n", "worker-2 2\n"]
    assert len(fresh.servers()) == 1


def test_a_fifth_environment_starts_cold(fresh: Launching) -> None:
    """Servers take memory: a different variable for each job must not fill the machine."""
    name = fresh.module("many", "import sys; print('mlflow' in sys.modules)")
    holders = [_holder(fresh, f"{number}.alive") for number in range(launcher.SERVERS_AT_MOST)]
    ended = fresh.end(fresh.start(name, env={"TEAM": "fifth"}))
    for holder in holders:
        os.close(holder)
    assert ended.stdout == "False\n"
    assert "started cold: 4 warm servers run already" in ended.stderr


def _holder(warm: Launching, name: str) -> int:
    """What a living server holds."""
    import fcntl

    warm.sockets.mkdir(mode=0o700, exist_ok=True)
    alive = os.open(warm.sockets / name, os.O_RDWR | os.O_CREAT)
    fcntl.flock(alive, fcntl.LOCK_EX)
    return alive


def test_a_catalog_module_that_starts_a_thread_makes_jobs_start_cold(warm: Launching) -> None:
    """A fork would have the module's locks without its thread."""
    warm.module(
        "threading_models",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    )
    name = warm.module("after_thread", "import sys; print('mlflow' in sys.modules)")
    ended = warm.end(warm.start(name, env={"RETRAINING_MODELS": "threading_models:nothing"}))
    assert (ended.code, ended.stdout) == (0, "False\n")
    assert "started cold: an imported module has started threads" in ended.stderr


@pytest.mark.parametrize("value", ["false", "0"])
def test_switched_off_a_job_is_started_as_prefect_would(fresh: Launching, value: str) -> None:
    name = fresh.module("stock", "import os, sys; print('mlflow' in sys.modules, os.getpid())")
    job = fresh.start(name, env={"RETRAINING_WARM_START": value})
    ended = fresh.end(job)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == f"False {job.pid}\n"
    assert not fresh.servers()


def test_without_a_folder_of_its_own_a_job_starts_cold(warm: Launching, tmp_path: Path) -> None:
    """A folder that others can open is not trusted."""
    tmp_path.chmod(0o755)
    name = warm.module("distrusting", "import sys; sys.exit(4)")
    ended = warm.end(warm.start(name, env={launcher.SOCKETS: str(tmp_path)}))
    assert ended.code == 4
    assert f"retraining: started cold: {tmp_path} is open to others" in ended.stderr


def test_a_working_folder_with_modules_of_the_same_name_starts_cold(warm: Launching, tmp_path: Path) -> None:
    """There `import flows` means the folder's."""
    (tmp_path / "flows.py").write_text("HERE = True")
    name = warm.module("shadowed", "import flows; print(flows.HERE)")
    ended = warm.end(warm.start(name, cwd=tmp_path))
    assert ended.stdout == "True\n"
    assert "started cold: its working folder has a flows.py of its own" in ended.stderr


def test_a_server_goes_when_its_workers_are_gone(fresh: Launching) -> None:
    """Here the worker is a process that runs one job."""
    worker = textwrap.dedent(
        f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-I", "-S", {launcher.__file__!r}, "of_worker"], check=True)
        print("ran", flush=True)
        sys.stdin.read()
        """
    )
    fresh.module("of_worker", "")
    process = subprocess.Popen(
        [sys.executable, "-c", worker],
        env=fresh.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ran\n"
    (server,) = fresh.servers()
    process.communicate()
    until(lambda: server not in fresh.processes())
