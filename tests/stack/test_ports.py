"""Where the components listen."""

import socket

import pytest

from retraining.errors import HostNotUsable, PortInUse
from retraining.stack.ports import choose_ports


def test_zero_becomes_a_free_port_of_its_own() -> None:
    """No port is given twice, and none that another component asked for."""
    chosen = choose_ports("127.0.0.1", dict.fromkeys("abcdef", 0))
    assert len(set(chosen.values())) == 6
    assert all(port > 0 for port in chosen.values())


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    """The error names the component and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use, api cannot"):
            choose_ports("127.0.0.1", {"prefect": 0, "api": port})


def test_two_components_cannot_share_a_port() -> None:
    """One of them is told."""
    free = choose_ports("127.0.0.1", {"a": 0})["a"]
    with pytest.raises(PortInUse):
        choose_ports("127.0.0.1", {"api": free, "mlflow": free})


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    """The error says what to give instead."""
    with pytest.raises(HostNotUsable, match="give --host an address of this machine"):
        choose_ports(host, {"api": 0})
