"""A line to a TCP server that can be cut, held up, spoken into, lose its far end without a word, or
all packets.

Serves in threads of its own, so that whoever waits for the daemon does not hold it up. Knows no
protocol.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable

_PIECE = 65536
_POLL = 0.02
#: Bytes that the kernel keeps of what is not read, about: little, so that it is soon felt.
_KEPT = 1 << 17
#: Linux's numbers, which Python does not know.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
#: A filter of one instruction: of each packet that comes nothing is kept.
_RETURN_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_LOSE_ALL = struct.pack("HL", 1, ctypes.addressof(_RETURN_NOTHING))
#: Bytes after which somebody may want to speak, at most.
_LONGEST = 16


class Line:
    """Passes on to ``port`` of loopback what comes to ``self.port``, both ways, once started."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening: socket.socket | None = None
        # To the server, and from it.
        self._passing = (threading.Event(), threading.Event())
        self._links: list[_Link] = []
        self._deaf: list[socket.socket] = []
        self._is_dropping = False
        self._lock = threading.Lock()
        self.go_on()
        #: Seconds by which each piece that the server says comes later.
        self.delay = 0.0
        self.port = 0

    @property
    def links(self) -> int:
        """How many connections stand."""
        with self._lock:
            return len(self._links)

    def start(self) -> None:
        """Take connections; at the port that it had before, if it had one."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()
        self.port = listening.getsockname()[1]
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and cut those that stand."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        self.cut()
        while self._deaf:
            _reset(self._deaf.pop())
        self.go_on()

    def cut(self) -> None:
        """Reset every connection, on both sides; new ones are taken."""
        for link in self._take():
            link.reset()

    def cut_within(self, count: int) -> None:
        """Reset every connection once this many more bytes have come from the server."""
        with self._lock:
            for link in self._links:
                link.left = count

    def lose_far_end(self) -> None:
        """Reset the server's side alone: the other side hears nothing any more, and not of that."""
        for link in self._take():
            self._deaf.append(link.near)
            _reset(link.far)

    def hold(self) -> None:
        """Pass nothing on, either way, and read nothing; until ``go_on``."""
        for passing in self._passing:
            passing.clear()

    def hold_what_is_sent(self) -> None:
        """Read nothing of what goes to the server, as if it did not; what it says is passed on."""
        self._passing[0].clear()

    def drop(self) -> None:
        """Lose every packet of either side, those of new connections too; until ``go_on``.

        What comes is not even acknowledged, so both sides send it again and again.
        """
        self.hold()
        with self._lock:
            self._is_dropping = True
            for side in self._sides():
                _lose_all(side)

    def go_on(self) -> None:
        """Pass on again, and first what was held up; what was lost comes once it is sent again."""
        with self._lock:
            if self._is_dropping:
                self._is_dropping = False
                for side in self._sides():
                    with contextlib.suppress(OSError):
                        side.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        for passing in self._passing:
            passing.set()

    def say(self, data: bytes, after: bytes = b"") -> None:
        """Speak as if the server did, on every connection.

        :param after: what the server says has to have ended so; until then it waits.
        """
        with self._lock:
            links = list(self._links)
        for link in links:
            link.say(data, after)

    def _sides(self) -> list[socket.socket]:
        ends = [side for link in self._links for side in (link.near, link.far)]
        return ends if self._listening is None else [self._listening, *ends]

    def _take(self) -> list[_Link]:
        with self._lock:
            links, self._links = self._links, []
            return links

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT)
            try:
                far.connect(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            link = _Link(near, far)
            with self._lock:
                self._links.append(link)
                if self._is_dropping:
                    _lose_all(near)
                    _lose_all(far)
            ways = (near, far.sendall), (far, link.pass_on)
            for passing, way in zip(self._passing, ways, strict=True):
                threading.Thread(target=self._pass, args=(link, passing, *way), daemon=True).start()

    def _pass(
        self,
        link: _Link,
        passing: threading.Event,
        source: socket.socket,
        pass_on: Callable[[bytes], None],
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                passing.wait()
                data = source.recv(_PIECE)
                while not passing.is_set():
                    time.sleep(_POLL)
                if not data:
                    break
                if self.delay and source is link.far:
                    time.sleep(self.delay)
                pass_on(data)
        # An end is passed on as what it is, unless the link was taken apart on purpose.
        with self._lock:
            if link not in self._links:
                return
            self._links.remove(link)
        if link.left is not None and link.left <= 0:
            link.reset()
            return
        for side in (link.near, link.far):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


class _Link:
    """A connection and the one to the server.

    ``left``: how many bytes from the server are still passed on, None if all are.
    """

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.left: int | None = None
        self._lock = threading.Lock()
        self._said = b""
        self._waiting, self._after = b"", b""

    def say(self, data: bytes, after: bytes) -> None:
        """Speak now, or where the server has said ``after``."""
        with self._lock:
            if self._said.endswith(after):
                with contextlib.suppress(OSError):
                    self.near.sendall(data)
            else:
                self._waiting, self._after = self._waiting + data, after

    def pass_on(self, data: bytes) -> None:
        """Pass on what the server says, and what was to be said in between.

        :raises OSError: if nobody is there, or no more is to be passed on.
        """
        with self._lock:
            if self._waiting and self._after in data:
                before, found, data = data.rpartition(self._after)
                self.near.sendall(before + found + self._waiting)
                self._said, self._waiting = found, b""
            self._said = (self._said + data)[-_LONGEST:]
            piece = data if self.left is None else data[: self.left]
            self.near.sendall(piece)
            if self.left is not None:
                self.left -= len(piece)
                if self.left <= 0:
                    raise OSError("no more is passed on")

    def reset(self) -> None:
        """Reset both sides."""
        for side in (self.near, self.far):
            _reset(side)


def _lose_all(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _LOSE_ALL)


def _reset(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.shutdown(socket.SHUT_RD)
        side.close()
