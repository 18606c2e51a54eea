"""A job that starts warm is to its worker, and to itself, what a new interpreter would be."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retraining.stack.processes import alive
from retraining.warm import launcher
from tests.warm.launching import Launching, until


def test_a_job_finds_everything_imported(warm: Launching) -> None:
    ended = warm.run(
        "import sys; print(sorted({'mlflow', 'sklearn', 'pandas', 'flows.retrain'} & set(sys.modules)))"
    )
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.strip() == "['flows.retrain', 'mlflow', 'pandas', 'sklearn']"


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit('no such window')", 1, "no such window\n"),
        ("import os; os._exit(3)", 3, ""),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
        ("import os; os.abort()", -6, None),
        ("raise KeyboardInterrupt", -2, None),
    ],
)
def test_the_launcher_ends_as_the_job_ends(warm: Launching, source: str, code: int, said: str | None) -> None:
    """By the same exit code, or by the same signal."""
    ended = warm.run(source)
    assert ended.code == code
    if said is not None:
        assert ended.stderr == said


def test_an_exception_is_told_and_ends_with_1(warm: Launching) -> None:
    ended = warm.run("import atexit; atexit.register(print, 'cleared up')\n1 / 0")
    assert ended.code == 1
    assert ended.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert ended.stdout == "cleared up\n"


def test_a_job_waits_for_its_threads_and_runs_what_is_registered_for_the_end(warm: Launching) -> None:
    """In the order of an interpreter, and with its output flushed."""
    ended = warm.run(
        "import atexit, threading\n"
        "go = threading.Event()\n"
        "atexit.register(print, 'registered', end='')\n"
        "threading.Thread(target=lambda: (go.wait(), print('thread'))).start()\n"
        "go.set()"
    )
    assert ended.stdout == "thread\nregistered"


def test_a_job_gets_environment_folder_umask_streams_and_arguments(warm: Launching, tmp_path: Path) -> None:
    facts = (
        "import json, os, sys\n"
        "umask = os.umask(0)\n"
        "said = sys.stdin.read()\n"
        "facts = [os.environ['PREFECT__FLOW_RUN_ID'], os.getcwd(), umask, said, sys.argv[1:], sys.path[0]]\n"
        "print(json.dumps(facts))\n"
        "print('to stderr', file=sys.stderr)\n"
    )
    job = warm.start(
        warm.module("facts", facts), "a", "b c", env={"PREFECT__FLOW_RUN_ID": "run"}, cwd=tmp_path, umask=0o27
    )
    ended = warm.end(job, "to stdin")
    folder = str(tmp_path)
    assert json.loads(ended.stdout) == ["run", folder, 0o27, "to stdin", ["a", "b c"], folder]
    assert (ended.code, ended.stderr) == (0, "to stderr\n")


def test_a_job_has_no_descriptor_but_its_streams(warm: Launching) -> None:
    """Neither the server's, nor the keeper's, nor those that the launcher was given."""
    read, write = os.pipe()
    source = "import os\nfor n in range(64):\n    try: os.fstat(n); print(n)\n    except OSError: pass\n"
    job = warm.start(warm.module("descriptors", source), pass_fds=(read, write))
    ended = warm.end(job)
    os.close(read)
    os.close(write)
    assert ended.stdout.split() == ["0", "1", "2"]


def test_a_job_has_the_resource_limits_of_its_launcher(warm: Launching) -> None:
    name = warm.module("limits", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))")
    command = [sys.executable, "-I", "-S", launcher.__file__, name]
    said = subprocess.run(
        ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *command],
        env=warm.env(),
        cwd=warm.sockets.parent / "job",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (said.stdout, said.stderr) == ("(300, 300)\n", "")


def test_a_job_leads_a_session_and_has_default_signal_handlers(warm: Launching) -> None:
    ended = warm.run(
        "import os, signal\n"
        "print(os.getsid(0) == os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "print([signal.getsignal(n).name for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)])\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    assert ended.stdout.splitlines() == ["True set()", "['SIG_DFL', 'SIG_DFL', 'SIG_DFL']", "True"]


def test_jobs_draw_different_random_numbers(warm: Launching) -> None:
    source = (
        "import random, numpy as np, polars as pl\n"
        "print(random.random(), np.random.random(), pl.Series(range(50)).shuffle().to_list(), sep='\\n')"
    )
    first, second = (warm.run(source).stdout.splitlines() for _ in range(2))
    assert len(first) == len(second) == 3
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_nothing_of_a_job_is_left_for_the_next(warm: Launching) -> None:
    source = "import mlflow, os; print(hasattr(mlflow, 'left'), os.environ.get('LEFT')); mlflow.left = 1"
    said = [warm.run(f"{source}; os.environ['LEFT'] = 'x'").stdout for _ in range(2)]
    assert said == ["False None\n", "False None\n"]


def test_prefects_settings_are_those_of_the_jobs_environment_and_folder(
    warm: Launching, tmp_path: Path
) -> None:
    """A file with settings in the working folder counts, as it would for a new interpreter."""
    (tmp_path / "prefect.toml").write_text('[logging]\nlevel = "ERROR"\n')
    source = (
        "import logging\n"
        "from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL\n"
        "print(PREFECT_API_URL.value(), PREFECT_LOGGING_LEVEL.value(),\n"
        "      logging.getLogger('prefect').getEffectiveLevel() == logging.ERROR)"
    )
    name = warm.module("settings_of_job", source)
    env = {"PREFECT_API_URL": "http://here/api"}
    plain = warm.end(warm.start(name, env=env))
    with_file = warm.end(warm.start(name, env=env, cwd=tmp_path))
    assert plain.stdout == "http://here/api INFO False\n"
    assert with_file.stdout == "http://here/api ERROR True\n"


def test_openmp_and_lightgbm_train_in_two_jobs_at_once(warm: Launching) -> None:
    """scikit-learn's and LightGBM's threads start in the job, with what its environment allows."""
    source = (
        "import numpy as np, lightgbm, polars as pl\n"
        "from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier\n"
        "x = np.random.default_rng(0).normal(size=(2000, 8)); y = (x[:, 0] > 0).astype(int)\n"
        "for model in (\n"
        "    HistGradientBoostingClassifier(max_iter=20),\n"
        "    lightgbm.LGBMClassifier(n_estimators=20, verbose=-1),\n"
        "    RandomForestClassifier(20, n_jobs=2),\n"
        "): print(type(model).__name__, model.fit(x, y).score(x, y) > 0.9)\n"
        "print(np.linalg.svd(x.T @ x)[1][0] > 0, pl.DataFrame(x).lazy().sum().collect().shape)"
    )
    name = warm.module("training", source)
    jobs = [warm.start(name) for _ in range(2)]
    for ended in map(warm.end, jobs):
        assert (ended.code, "started cold" in ended.stderr) == (0, False), ended.stderr
        assert ended.stdout.splitlines() == [
            "HistGradientBoostingClassifier True",
            "LGBMClassifier True",
            "RandomForestClassifier True",
            "True (1, 8)",
        ]


def test_the_server_has_one_thread(warm: Launching) -> None:
    warm.run("")
    assert warm.servers()
    for server in warm.servers():
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_job(warm: Launching, number: signal.Signals) -> None:
    source = (
        "import signal, sys\n"
        "signal.signal(int(sys.argv[1]), lambda n, f: sys.exit(40 + n))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    job = warm.start(warm.module("patient", source), str(int(number)))
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    job.send_signal(number)
    assert warm.end(job).code == 40 + number


def test_one_sigterm_to_every_process_of_a_stack_reaches_the_job_once(warm: Launching) -> None:
    """Directly; by way of the launcher it would interrupt the job in telling Prefect how it ends."""
    source = (
        "import os, signal, time\n"
        "got, asked = [], []\n"
        # No `print`: the signal may come while another one is on its way, which refuses to be entered twice.
        "signal.signal(signal.SIGTERM, lambda n, f: (got.append(n), os.write(1, b'terminated\\n')))\n"
        "signal.signal(signal.SIGUSR1, lambda n, f: asked.append(n))\n"
        "print(os.getpid(), os.getppid(), flush=True)\n"
        "while not asked: time.sleep(0.01)\n"
        "raise SystemExit(len(got))"
    )
    job = warm.start(warm.module("terminated", source))
    assert job.stdout is not None
    pid, keeper = map(int, job.stdout.readline().split())
    until(lambda: catches(job.pid, signal.SIGTERM))  # the job may be faster than the launcher
    slept = sleeps(job.pid)
    for each in (keeper, pid, job.pid):
        os.kill(each, signal.SIGTERM)
    assert job.stdout.readline() == "terminated\n"
    until(lambda: sleeps(job.pid) > slept)  # the launcher has passed it on
    job.send_signal(signal.SIGUSR1)
    assert warm.end(job).code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_launcher_is_the_end_of_the_job(warm: Launching, number: signal.Signals) -> None:
    """Of what the job has started, too, if the launcher was killed."""
    source = (
        "import os, subprocess, sys\n"
        "below = subprocess.Popen(['sleep', '1000'])\n"
        "print(os.getpid(), below.pid, flush=True)\n"
        "below.wait()"
    )
    job = warm.start(warm.module("with_child", source))
    assert job.stdout is not None
    pids = [int(pid) for pid in job.stdout.readline().split()]
    job.send_signal(number)
    assert job.wait(60) == -number
    if number == signal.SIGTERM:
        os.kill(pids.pop(), signal.SIGKILL)  # as without a launcher: the signal was the job's alone
    until(lambda: not any(map(alive, pids)))


def test_a_job_outlives_the_process_group_of_its_worker(warm: Launching) -> None:
    """As one that Prefect starts by its stock command."""
    name = warm.module("outliving", "import sys; print('ready', flush=True); sys.exit(int(sys.stdin.read()))")
    job = warm.start(name)
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    assert os.getpgid(job.pid) == job.pid != os.getpgrp()
    assert warm.end(job, "7").code == 7


def test_a_job_is_killed_with_its_keeper(warm: Launching) -> None:
    """And the launcher ends as if it had been: nothing would relay signals or the exit code any more."""
    source = "import os, signal\nprint(os.getpid(), os.getppid(), flush=True)\nsignal.pause()"
    job = warm.start(warm.module("waiting", source))
    assert job.stdout is not None
    pid, keeper = (int(part) for part in job.stdout.readline().split())
    os.kill(keeper, signal.SIGKILL)
    assert warm.end(job).code == -signal.SIGKILL
    until(lambda: not alive(pid))


def sleeps(pid: int) -> int:
    """How often the process has begun to wait for something."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["voluntary_ctxt_switches"])


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
