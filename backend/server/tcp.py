"""State of TCP sockets that asyncio's transports do not show; -1 stands for no socket."""

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MAX_UNSENT_BYTES: Final = 131_072  # in the kernel, for each connection; Linux alone takes 4 MB

_INFO_BYTES: Final = 128
_ACKNOWLEDGED_OFFSET: Final = 120  # of tcpi_bytes_acked in Linux's struct tcp_info
_DISCARD_BYTES: Final = 1 << 18


def is_readable(descriptor: int) -> bool:
    """Return whether a socket has unread data, an end of stream or a connection to accept."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def acknowledged_bytes(descriptor: int) -> int:
    """Return how many bytes the peer's system has received; 0 if the system does not tell."""
    info = b""
    if hasattr(socket, "TCP_INFO"):
        with suppress(OSError), borrow_socket(descriptor) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES:
        return 0
    (count,) = struct.unpack_from("<Q", info, _ACKNOWLEDGED_OFFSET)
    return int(count)


def limit_unsent_bytes(listener: int) -> None:
    """Limit the unsent bytes that the kernel holds for each connection of a listener.

    The bytes in transit are not limited, so the rate is not either.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError), borrow_socket(listener) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)


def discard_received(descriptor: int) -> None:
    """Discard what has arrived, since closing a socket with unread data resets the connection."""
    with suppress(OSError):
        os.read(descriptor, _DISCARD_BYTES)


def shutdown_write(descriptor: int) -> None:
    """Send FIN to the peer at once; the transport's own close waits for a loop iteration."""
    with suppress(OSError), borrow_socket(descriptor) as sock:
        sock.shutdown(socket.SHUT_WR)


@contextmanager
def borrow_socket(descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor, which stays open. Raises OSError."""
    if descriptor < 0:
        raise OSError("no socket")
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()
