"""State of TCP sockets that asyncio's transports do not show; -1 stands for no socket."""

import os
import select
import socket
import struct
from contextlib import suppress
from typing import Final

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
        with suppress(OSError):
            sock = socket.socket(fileno=descriptor)
            try:
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            finally:
                sock.detach()
    if len(info) < _INFO_BYTES:
        return 0
    (count,) = struct.unpack_from("<Q", info, _ACKNOWLEDGED_OFFSET)
    return int(count)


def discard_received(descriptor: int) -> None:
    """Discard what has arrived, since closing a socket with unread data resets the connection."""
    with suppress(OSError):
        os.read(descriptor, _DISCARD_BYTES)


def shutdown_write(descriptor: int) -> None:
    """Send FIN to the peer at once; the transport's own close waits for a loop iteration."""
    with suppress(OSError):
        sock = socket.socket(fileno=descriptor)
        try:
            sock.shutdown(socket.SHUT_WR)
        finally:
            sock.detach()
