"""A supervisor with two small servers, as a process: `small_stack.py HOME [OPTION...]` prints their ids."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from retraining.stack.component import Component, answers
from retraining.stack.home import Home
from retraining.stack.ports import choose_ports
from retraining.stack.supervisor import Supervisor

SERVER = str(Path(__file__).parent / "small_server.py")


def small_server(name: str, port: int, *options: str, **fields: object) -> Component:
    command = (sys.executable, "-I", "-S", SERVER, str(port), *options)
    return Component(name, command, **{"health": answers(f"http://127.0.0.1:{port}"), **fields})


async def main() -> None:
    home = Home(Path(sys.argv[1]))
    options = sys.argv[2:]
    home.prepare()
    lock = home.lock()
    ports = choose_ports("127.0.0.1", {"first": 0, "second": 0})
    components = [
        small_server("first", ports["first"], *options),
        small_server("second", ports["second"], *options, needs=("first",)),
    ]
    supervisor = Supervisor(
        components,
        home=home,
        environment=dict(os.environ),
        lock=lock,
        say=lambda text: print(text, file=sys.stderr, flush=True),
        changed=lambda pids: print(json.dumps(pids), flush=True),
    )
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with supervisor:
        await supervisor.start()
        supervisor.announce()
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main())
