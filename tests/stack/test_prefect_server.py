"""The Prefect server's garbage collection, its knowledge of time zones, and its transactions on SQLite."""

import gc
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

CYCLES = """
import gc, threading, time, weakref
from retraining.stack import prefect_server

class Node:
    pass

prefect_server.YOUNG_EVERY_SECONDS = 0.05
prefect_server.collect_in_background()
collector = []
node = Node()
node.itself = node
weakref.finalize(node, lambda: collector.append(threading.current_thread().name))
del node
numbers = [[number] for number in range(100_000)]  # enough to start a collection here, were there any
assert not gc.isenabled() and not (collector and collector != ["garbage collection"])
deadline = time.monotonic() + 20
while not collector and time.monotonic() < deadline:
    time.sleep(0.05)
print(collector)
"""


def test_garbage_is_collected_in_a_thread_of_its_own() -> None:
    """Never in the thread that creates it: there SQLite could stop the event loop for a minute."""
    said = subprocess.run(
        [sys.executable, "-c", CYCLES], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "['garbage collection']"
    assert gc.isenabled()


SCHEDULES = """
import sys
from retraining.stack import prefect_server

opened = []

def watch(event, arguments):
    if event == "open" and any(name in str(arguments[0]) for name in ("zoneinfo", "tzdata")):
        opened.append(arguments[0])

prefect_server.remember_time_zones()
sys.addaudithook(watch)
from prefect.server.schemas.schedules import CronSchedule

counts = []
for _ in range(3):
    CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    counts.append(len(opened))
print(counts[0] > 0, counts[0] == counts[2])
"""


def test_the_machines_time_zones_are_looked_up_once_for_all_schedules() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SCHEDULES], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "True True"


def test_writers_beside_each_other_are_never_told_that_the_database_is_locked(prefect_api: str) -> None:
    """Stock Prefect answers some of these with 503, or ends the connection."""
    limits = httpx.Limits(keepalive_expiry=1)  # the server's end of an idle connection comes after five
    with httpx.Client(base_url=prefect_api, timeout=60, limits=limits) as prefect:
        flow = prefect.post("/flows/", json={"name": "locked"}).json()["id"]

        def live(number: int) -> list[int]:
            created = prefect.post("/flow_runs/", json={"flow_id": flow, "name": f"run {number}"})
            run = f"/flow_runs/{created.json().get('id')}"
            changes = [
                prefect.post(f"{run}/set_state", json={"state": {"type": state}})
                for state in ("PENDING", "RUNNING", "COMPLETED")
            ]
            labels = prefect.patch(f"{run}/labels", json={"number": number})
            return [answer.status_code for answer in (created, *changes, labels)]

        with ThreadPoolExecutor(8) as threads:
            statuses = Counter(status for lived in threads.map(live, range(60)) for status in lived)
    assert statuses.keys() == {200, 201, 204}, statuses
