"""Ports of this machine for the processes of `tocsin dev`: the one that was asked for, the usual one, or a free one."""

import errno
import socket

from tocsin.cli.exits import Exit, Stop

LOOPBACK = "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket on `host`; port 0 takes a free one. Raises Stop if the port is taken or not allowed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
        door.listen(2048)
    except OSError as fault:
        door.close()
        if fault.errno == errno.EADDRINUSE:
            raise Stop(
                Exit.FAILED,
                f"port {port} of {host} is taken by another program.",
                "Choose another with --port, or let --port 0 take a free one.",
            ) from None
        raise Stop(Exit.FAILED, f"port {port} of {host} cannot be used: {fault.strerror}.", "Choose another.") from None
    return door


def is_free(port: int) -> bool:
    """Whether a program could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def pick(wanted: tuple[int, ...]) -> int:
    """The first of these ports that is free, or any free one."""
    for port in wanted:
        if port and is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port
