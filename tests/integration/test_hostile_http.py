"""Live tests of the API's web server against those who mean no good, or do not know better."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from ccdaemon.api.connections import room_for
from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

GET = b"GET /api/sipList.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: The beginning of a TLS session.
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
#: Within how many seconds others are to be answered meanwhile, on a machine with much to do.
PROMPT = 3.0


class HostileCase(LiveTestCase):
    """Opens connections of every kind, which are closed at the end."""

    def connection(self, sent: bytes = b"", room: int | None = None) -> socket.socket:
        """Connect, and send something; ``room``: what the kernel may keep of the answer."""
        made = socket.socket()
        self.addCleanup(made.close)
        if room is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        made.settimeout(10)
        made.connect(("127.0.0.1", self.daemon.port))
        made.sendall(sent)
        made.setblocking(False)
        return made

    def heard(self, from_: socket.socket) -> bytes | None:
        """What came, up to a piece; None if nothing did, ``b""`` if it is closed."""
        try:
            return from_.recv(1 << 16)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    async def until_closed(self, one: socket.socket, timeout: float) -> bytes:
        """Read until the other side closes; all that came."""
        parts: list[bytes] = []

        def is_closed() -> bool:
            part = self.heard(one)
            if part:
                parts.append(part)
            return part == b""

        await self.wait_for(is_closed, timeout, "the end of a connection")
        return b"".join(parts)

    async def prompt(self, times: int = 5) -> None:
        """Others are answered, each in good time."""
        for _ in range(times):
            began = time.monotonic()
            self.assertEqual((await self.request("/healthz"))[0], 200)
            self.assertEqual((await self.api("sipList", per_page=1))["status"], "ok")
            self.assertLess(time.monotonic() - began, 2 * PROMPT)

    def memory(self) -> int:
        """What the daemon has of memory, in kB."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def files(self) -> int:
        """How many files the daemon has open."""
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    async def number(self, name: str) -> float:
        """One of the daemon's numbers."""
        _, _, numbers = await self.request("/metrics")
        found = [line for line in numbers.decode().splitlines() if line.startswith(f"{name} ")]
        return float(found[0].split()[1])

    def no_traceback(self) -> None:
        """The log has none."""
        self.assertNotIn("Traceback", self.daemon.log.read_text(errors="replace"))


class Crowd(HostileCase):
    """Many connections at once."""

    tables = {"http": {"max_connections": 1200, "request_timeout": 15}}
    timeout = 120

    def setUp(self) -> None:
        """Have room for as many here."""
        room_for(2000)
        super().setUp()

    async def test_a_thousand_idle(self) -> None:
        """A thousand that say nothing, and half as many that say half of something: calls are
        made meanwhile, all are closed in time, and nothing is left of them."""
        before = self.files()
        idle = [self.connection() for _ in range(1000)]
        slow = [self.connection(b"GET /api/sipList.json HTTP/1.1\r\nX: ") for _ in range(500)]
        began = time.monotonic()
        await self.prompt()
        self.assertLessEqual(await self.number("ccdaemon_http_connections"), 1200)
        self.assertGreaterEqual(await self.number("ccdaemon_http_connections_made_room_total"), 300)
        call_id = await self.make_call("1040", "380680000018")
        await self.finished(call_id)
        self.assertEqual(self.daemon.log.read_text().count("All http.max_connections (1200)"), 1)
        open_ = {*idle, *slow}

        def all_closed() -> bool:
            for one in list(open_):
                # Signs of life that are none.
                try:
                    if one in slow:
                        one.send(b"x")
                except OSError:
                    pass
                if self.heard(one) == b"":
                    open_.discard(one)
            return not open_

        while not all_closed():
            self.assertLess(time.monotonic() - began, 60, f"{len(open_)} are still open")
            await self.sleep(1)
        self.assertGreater(time.monotonic() - began, 14)
        await self.prompt(1)
        await self.wait_for(lambda: self.files() <= before + 5, 10, "no file left open")
        self.no_traceback()

    async def test_half_closed(self) -> None:
        """Those who close their side, before, in the middle of and after a request, are gone."""
        before = self.files()
        for sent in (b"", GET[:20], GET, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            for _ in range(50):
                self.connection(sent).shutdown(socket.SHUT_WR)
        await self.prompt(2)
        await self.wait_for(lambda: self.files() <= before + 5, 10, "no file left open")
        self.no_traceback()


class Full(HostileCase):
    """A daemon with room for ten."""

    tables = {"http": {"max_connections": 10}}

    async def test_all_at_work(self) -> None:
        """Ten follow the stream: the eleventh is told to come again, and may once one has gone."""
        follow = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        streams = [self.connection(follow) for _ in range(10)]
        for one in streams:
            await self.wait_for(partial(self.heard, one), 5, "a stream")
        status, headers, body = await self.request("/healthz")
        self.assertEqual((status, headers["retry-after"]), (503, "1"))
        self.assertIn(b"too_many_connections", body)
        streams[3].close()
        await self.sleep(0.3)
        await self.prompt(2)
        self.assertEqual(await self.number("ccdaemon_http_connections_refused_total"), 1)


class Strange(HostileCase):
    """What is no request, or too much of one."""

    tables = {"http": {"request_timeout": 10}}
    timeout = 150

    async def test_garbage(self) -> None:
        """TLS on the plain port, another protocol, noise: closed, a line each, no traceback."""
        for sent in (
            HELLO + b"\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\0" * 70_000,
            b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            bytes(range(256)) * 10 + b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            before = len(self.daemon.log.read_text())
            one = self.connection(sent)
            answer = await self.until_closed(one, 10)
            self.assertRegex(answer, rb"(?s)\A(HTTP/1.1 4\d\d .*)?\Z", sent[:20])
            logged = self.daemon.log.read_text()[before:].splitlines()
            self.assertLessEqual(len(logged), 1, logged)
        self.assertIn("400 for 127.0.0.1: no HTTP", self.daemon.tail())
        await self.prompt(1)
        self.no_traceback()

    async def test_too_much(self) -> None:
        """Endless addresses and headers are cut off at 16 KiB, and take no memory."""
        before = self.memory()
        for piece in (b"GET /" + b"a" * 60_000, b"a" * 60_000, b"X: y\r\n" * 10_000):
            ones = [self.connection() for _ in range(20)]
            for one in ones:
                one.setblocking(True)
                try:
                    if piece[:3] != b"GET":
                        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
                    for _ in range(100):
                        one.sendall(piece)
                except ConnectionError:
                    pass
                one.setblocking(False)
                await self.until_closed(one, 10)
        self.assertLess(self.memory() - before, 20 * 1024, "kB more memory")
        await self.prompt(1)
        self.no_traceback()

    async def test_a_flood_on_one_connection(self) -> None:
        """Thousands of requests at once: others are answered in between, then all of these."""
        wanted = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        one, sent, before = self.connection(), 0, self.memory()
        answers, most = 0, before
        rest = wanted * 600
        tail = b""
        while answers < 600:
            try:
                sent = one.send(rest) if rest else 0
            except BlockingIOError:
                sent = 0
            rest = rest[sent:]
            while part := self.heard(one):
                tail = tail[-20:] + part
                answers += tail.count(b"HTTP/1.1 200 OK")
                tail = tail[-14:]
            self.assertNotEqual(part, b"", "closed")
            await self.prompt(1)
            most = max(most, self.memory())
        self.assertEqual(answers, 600)
        self.assertLess(most - before, 30 * 1024, "kB more memory")

    async def test_nothing_is_taken(self) -> None:
        """Ten ask for the largest answers, a thousand times each, and take nothing: a bounded
        part of memory, and each is cut off in the end."""
        await together([self.make_call(f"11{n}", "380630000005") for n in range(10, 30)])
        query = urlencode({"per_page": 1000})
        wanted = b"GET /api/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        before = self.memory()
        deaf = [
            self.connection(wanted % address * 500, room=4096)
            for address in (f"callHistory.json?{query}".encode(), b"openapi.json")
            for _ in range(5)
        ]
        await self.sleep(5)
        await self.prompt()
        self.assertLess(self.memory() - before, 40 * 1024, "kB more memory")
        # A connection that is cut while it has much to read says so at the next byte sent.
        cut: set[socket.socket] = set()

        def all_cut() -> bool:
            for one in deaf:
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
                # 7: closed
                if info[0] == 7:
                    cut.add(one)
            return len(cut) == len(deaf)

        await self.wait_for(all_cut, 100, "all of them cut off")
        await self.prompt(1)
        self.no_traceback()
