"""The lab's line: what it does to those who talk over it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from time import monotonic, sleep

from twisted.trial.unittest import SynchronousTestCase

from lab.line import Line

_WITHIN = 10.0
#: TCP_INFO's words for a connection that nobody has answered, and for one that stands.
_SYN_SENT, _ESTABLISHED = 2, 1


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so. :raises AssertionError: it is not in time."""
    end = monotonic() + _WITHIN
    while not is_so():
        if monotonic() > end:
            raise AssertionError("not in time")
        sleep(0.005)


def info(side: socket.socket) -> tuple[int, int]:
    """The state of a connection, and how often what waits was sent again."""
    told = side.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return told[0], told[2]


class DroppingTests(SynchronousTestCase):
    """A line that loses every packet."""

    def setUp(self) -> None:
        """Lay a line to a server that says again what it is told."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        self.addCleanup(server.shutdown, socket.SHUT_RDWR)
        self.heard: list[socket.socket] = []
        threading.Thread(target=self.echo, args=(server,), daemon=True).start()
        self.line = Line(server.getsockname()[1])
        self.line.start()
        self.addCleanup(self.line.stop)

    def echo(self, server: socket.socket) -> None:
        """Take connections, and say again what they say."""
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            self.heard.append(link)
            threading.Thread(target=self.repeat, args=(link,), daemon=True).start()

    def repeat(self, link: socket.socket) -> None:
        """Say again what one says."""
        with contextlib.suppress(OSError):
            while data := link.recv(100):
                link.sendall(data)

    def connect(self) -> socket.socket:
        """A connection over the line; whether it stands is seen later."""
        link = socket.socket()
        self.addCleanup(link.close)
        link.settimeout(_WITHIN)
        link.connect(("127.0.0.1", self.line.port))
        link.sendall(b"hello")
        self.assertEqual(b"hello", link.recv(100))
        return link

    def test_both_sides(self) -> None:
        """Nobody hears the other one, nor that they were heard; afterwards all comes, once."""
        link = self.connect()
        self.line.drop()
        link.sendall(b"there")
        self.heard[0].sendall(b"back")
        until(lambda: info(link)[1] and info(self.heard[0])[1])
        self.assertEqual((_ESTABLISHED, 1), (info(link)[0], self.line.links))
        link.setblocking(False)
        self.assertRaises(BlockingIOError, link.recv, 100)
        link.settimeout(_WITHIN)
        self.line.go_on()
        data = b""
        while len(data) < len(b"backthere"):
            data += link.recv(100)
        self.assertEqual(sorted(b"backthere"), sorted(data))

    def test_new_connections(self) -> None:
        """Who connects meanwhile is neither refused nor answered; afterwards they are."""
        self.line.drop()
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(("127.0.0.1", self.line.port))
            self.assertEqual(_SYN_SENT, info(late)[0])
            self.line.go_on()
            until(lambda: info(late)[0] == _ESTABLISHED)
        self.connect()

    def test_held(self) -> None:
        """A line that only holds things up acknowledges them, and takes connections."""
        self.line.hold()
        with socket.socket() as link:
            link.setblocking(False)
            link.connect_ex(("127.0.0.1", self.line.port))
            until(lambda: info(link)[0] == _ESTABLISHED)
