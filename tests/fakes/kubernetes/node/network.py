"""
The network of the fake cluster: a loopback interface of its own, for all its pods.

The node's process and the pods are in it, so that they meet no other program
of this machine, whatever that listens on, and reach nothing beyond. The API
server and the tests are outside: sockets to and for them are made there.
"""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes.node.sandbox import check

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network_of_parent() -> None:
    """Enter the network that the process which has started this one is in."""
    with Path(f"/proc/{os.getppid()}/ns/net").open() as network:
        check(_libc.setns(network.fileno(), CLONE_NEWNET), "enter the network")


class Network:
    """
    A network that this process, and whoever it starts, has entered.

    ``outside`` is the second number of the addresses that Services have for
    this machine, where another cluster may run too.
    """

    def __init__(self, outside: int) -> None:
        self._number = outside
        self._outer = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        check(_libc.unshare(CLONE_NEWNET), "make a network")
        self._inner = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16sh14x", b"lo", IFF_UP)
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Make sockets in the machine's own network; nothing may be awaited meanwhile."""
        check(_libc.setns(self._outer, CLONE_NEWNET), "leave the network")
        try:
            yield
        finally:
            check(_libc.setns(self._inner, CLONE_NEWNET), "enter the network")

    def socket_outside(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for aiohttp, which has resolved ``address``."""
        family, kind, protocol, *_ = address
        with self.outside():
            made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def address_outside(self, address: tuple[str, int]) -> tuple[str, int]:
        """Return where this machine reaches a Service: 127.96.0.5 is 127.<outside>.0.5."""
        first, _, rest = address[0].split(".", maxsplit=2)
        return f"{first}.{self._number}.{rest}", address[1]

    def listen_outside(self, host: str, port: int) -> socket.socket:
        """Return a socket that listens in the machine's own network."""
        with self.outside():
            return socket.create_server((host, port), backlog=128)
