"""Questions and requests to the kernel about a socket that an event loop holds."""

import ctypes
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER, which the module socket does not name
_FLAGS_AT, _SYN = 13, 0x02  # of a TCP header
# Classic BPF (linux/filter.h): code, jump if true, jump if false, operand.
_DROP_SYN: Final = (
    (0x30, 0, 0, _FLAGS_AT),  # load the byte
    (0x45, 0, 1, _SYN),  # is the bit set in it?
    (0x06, 0, 0, 0),  # then drop the segment
    (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
)


def readable(descriptor: int) -> bool:
    """Whether something waits: bytes, the peer's end, or for a listener a connection."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def begin_none(listener: int) -> None:
    """Let no new connection begin at `listener`, while those that have begun can be accepted.

    A client that tries is refused when it tries again, once the listener is closed. Where the
    kernel has no such filter nothing happens.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in _DROP_SYN))
    value = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    with suppress(OSError), _another(listener) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, value)


def end(descriptor: int) -> None:
    """Tell the peer, at once, that no more will be sent; an event loop's close takes a turn."""
    with suppress(OSError), _another(descriptor) as sock:
        sock.shutdown(socket.SHUT_WR)


def _another(descriptor: int) -> socket.socket:
    """A second handle of a socket: the loop's own object does not let everything be done."""
    return socket.socket(fileno=os.dup(descriptor))
