"""Where the components listen: as asked, or on free ports, settled before anything starts."""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from retraining.errors import HostNotUsable, PortInUse


def choose_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Settle a port for each component; 0 becomes a free one, none is given twice.

    Raises:
        PortInUse: somebody listens on a port that was asked for.
        HostNotUsable: the host is no address of this machine, or the port needs privileges.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as exc:
        raise HostNotUsable(host, exc.strerror or str(exc)) from exc
    chosen = {}
    with ExitStack() as held:
        # Fixed ports first, so that a free one is never one that another component asked for.
        for component, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            probe = held.enter_context(socket.socket(family, kind))
            # As servers do: a port whose last connections linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], port))
                probe.listen(1)
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    raise PortInUse(component, host, port) from exc
                raise HostNotUsable(host, f"port {port}: {exc.strerror}") from exc
            chosen[component] = int(probe.getsockname()[1])
    return chosen
