"""Recordings over HTTP: addresses, types, lengths and ranges, over a real socket on loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import treq
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.static import File

from ccdaemon.api.files import plain_ranges
from ccdaemon.calls.model import State
from ccdaemon.errors import Code, Refused
from tests.api.parts import call_view, record
from tests.api.world import World
from tests.sound import tone, wav

UNIQUEID = "cc-0a1b2c-12-o"
WAV = "/api/record/12.wav"
MP3 = "/api/record/12.mp3"
BY_CHANNEL = f"/mp3/{UNIQUEID}.mp3"


class Ranges(SynchronousTestCase):
    """Range headers, put plainly."""

    def test_what_is_left_as_it_is(self) -> None:
        """From here to there, from here on, the last so many; one or several."""
        for header, plain in {
            "bytes=0-99": "bytes=0-99",
            "bytes=5-": "bytes=5-",
            "bytes=-10": "bytes=-10",
            "bytes= 0-0 , 5-9,-1": "bytes=0-0,5-9,-1",
            "bytes=007-008": "bytes=7-008",
            "bytes=200-300": "bytes=200-300",
        }.items():
            self.assertEqual(plain_ranges(header, 100), plain, header)

    def test_more_at_the_end_than_there_is(self) -> None:
        """The last 500 of 100 bytes are all of them."""
        self.assertEqual(plain_ranges("bytes=-500", 100), "bytes=-100")

    def test_what_says_nothing(self) -> None:
        """Other units, no numbers, backward ranges, too many at once: the whole file."""
        for header in (
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=--5",
            "bytes=1-2-3",
            "bytes=0-1,",
            "bytes=0-1,-",
            "items=0-1",
            "bytes=٠-١",
            "bytes=+1-2",
            "bytes=0-1\xff",
            "bytes=" + ",".join(["0-"] * 9),
            "bytes=" + "9" * 5000 + "-",
        ):
            self.assertIsNone(plain_ranges(header, 100), header[:40])

    @given(st.text() | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,3}-[0-9]{0,3})*"))
    def test_what_is_plain_stays_so(self, header: str) -> None:
        """Read again, the result is the same, and has nothing in it but digits and signs."""
        plain = plain_ranges(header, 100)
        if plain is not None:
            self.assertEqual(plain_ranges(plain, 100), plain)
            self.assertTrue(set(plain) <= set("bytes=0123456789-,"))


class Sending(TestCase):
    """What a client gets."""

    timeout = 10

    def setUp(self) -> None:
        """Have one call with a recording, and a server on loopback."""
        self.world = World()
        self.world.history.add(call_view(12), [State.CALL], record(12))
        self.world.history.add(call_view(13), [State.CALL])
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.wav = self.add("12.wav", wav(tone(3)))
        self.mp3 = self.add("12.mp3", os.urandom(20_000))
        listening: Any = reactor
        port = listening.listenTCP(0, self.world.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"
        pool = HTTPConnectionPool(listening, persistent=False)
        self.client = treq.client.HTTPClient(Agent(listening, pool=pool))

    def add(self, name: str, content: bytes) -> bytes:
        """Put a file where the recordings port finds it."""
        path = self.folder / name
        path.write_bytes(content)
        path_of = record(12).path.replace(".wav", path.suffix)
        self.world.recordings.files[path_of] = path
        return content

    async def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[Any, bytes]:
        """Ask, and read the answer to its end."""
        sent = Headers({name: [value] for name, value in (headers or {}).items()})
        response = await self.client.request(method, self.base + path, headers=sent)
        return response, await response.content()

    def header(self, response: Any, name: str) -> str | None:
        """Give a header of an answer."""
        values = response.headers.getRawHeaders(name)
        return values[0] if values else None

    async def test_whole_files(self) -> None:
        """Each address gives its file with the right type and length."""
        for path, content, kind in (
            (WAV, self.wav, "audio/wav"),
            (MP3, self.mp3, "audio/mpeg"),
            (BY_CHANNEL, self.mp3, "audio/mpeg"),
        ):
            for method in ("GET", "POST"):
                response, body = await self.ask(path, method=method)
                self.assertEqual((response.code, body), (200, content))
                self.assertEqual(self.header(response, "content-type"), kind)
                self.assertEqual(response.length, len(content))
                self.assertEqual(self.header(response, "accept-ranges"), "bytes")
                self.assertEqual(self.header(response, "cache-control"), "private, no-cache")
                self.assertEqual(self.header(response, "x-content-type-options"), "nosniff")
                self.assertIsNone(self.header(response, "content-security-policy"))

    async def test_head(self) -> None:
        """Without the body everything is the same."""
        get, _ = await self.ask(WAV)
        head, body = await self.ask(WAV, method="HEAD")
        self.assertEqual((head.code, body), (200, b""))
        self.assertEqual(self.header(head, "content-length"), str(len(self.wav)))
        for name in ("content-type", "etag", "last-modified", "accept-ranges"):
            self.assertEqual(self.header(head, name), self.header(get, name))

    async def test_one_range(self) -> None:
        """The bytes asked for, counted in the answer."""
        size = len(self.wav)
        for asked, begin, end in (
            ("bytes=0-99", 0, 100),
            ("bytes=100-", 100, size),
            ("bytes=-100", size - 100, size),
            (f"bytes=-{size * 2}", 0, size),
            (f"bytes=0-{size * 2}", 0, size),
            ("bytes=44-44", 44, 45),
        ):
            response, body = await self.ask(WAV, {"Range": asked})
            self.assertEqual((response.code, body), (206, self.wav[begin:end]), asked)
            self.assertEqual(
                self.header(response, "content-range"), f"bytes {begin}-{end - 1}/{size}"
            )
            self.assertEqual(self.header(response, "content-type"), "audio/wav")

    async def test_several_ranges(self) -> None:
        """Each in a part of its own."""
        response, body = await self.ask(WAV, {"Range": "bytes=0-9,20-29"})
        self.assertEqual(response.code, 206)
        self.assertIn("multipart/byteranges", self.header(response, "content-type") or "")
        self.assertEqual(response.length, len(body))
        for piece in (self.wav[0:10], self.wav[20:30]):
            self.assertIn(b"\r\n\r\n" + piece + b"\r\n--", body)

    async def test_a_range_beyond_the_end(self) -> None:
        """Nothing of it is there: 416 with the size, in the envelope."""
        size = len(self.wav)
        for asked in (f"bytes={size}-", "bytes=999999-", "bytes=-0", "bytes=999999-,-0"):
            response, body = await self.ask(WAV, {"Range": asked})
            self.assertEqual(response.code, 416)
            self.assertIn(b'"code":"bad_range"', body)
            self.assertEqual(self.header(response, "content-range"), f"bytes */{size}")
            self.assertEqual(self.header(response, "content-type"), "application/json")
        response, _ = await self.ask(WAV, {"Range": "bytes=999999-"}, "HEAD")
        length = self.header(response, "content-length")
        self.assertEqual((response.code, length), (200, str(size)))

    async def test_a_range_that_says_nothing(self) -> None:
        """The whole file, whatever it was meant to say."""
        for asked in ("bytes=x", "bytes=9-1", "bytes=-", "lines=0-1", "bytes=\xff"):
            response, body = await self.ask(WAV, {"Range": asked})
            self.assertEqual((response.code, body), (200, self.wav))

    async def test_unchanged(self) -> None:
        """Who has the file is told so, and sent nothing."""
        first, _ = await self.ask(WAV)
        for asked, taken in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
            response, body = await self.ask(WAV, {asked: self.header(first, taken) or ""})
            self.assertEqual((response.code, body), (304, b""))

    async def test_a_range_of_what_has_changed(self) -> None:
        """A range is only given of the very file that the client has the rest of."""
        first, _ = await self.ask(WAV)
        same = {"Range": "bytes=0-9", "If-Range": self.header(first, "etag") or ""}
        response, body = await self.ask(WAV, same)
        self.assertEqual((response.code, len(body)), (206, 10))
        response, body = await self.ask(WAV, {**same, "If-Range": '"other"'})
        self.assertEqual((response.code, body), (200, self.wav))

    async def test_a_large_file(self) -> None:
        """Megabytes come through unchanged."""
        content = self.add("12.wav", os.urandom(3 << 20))
        _, body = await self.ask(WAV)
        self.assertEqual(len(body), len(content))
        self.assertTrue(body == content)

    async def refused(self, path: str, status: int, code: str) -> None:
        """Ask for what is refused, and read the envelope."""
        response, body = await self.ask(path)
        self.assertEqual(response.code, status, path)
        self.assertIn(f'"code":"{code}"'.encode(), body, path)
        self.assertEqual(self.header(response, "cache-control"), "no-store")

    async def test_what_is_not_there(self) -> None:
        """No call, no recording, another channel's name, a name that is none."""
        for path in (
            "/api/record/13.wav",
            "/api/record/99.wav",
            "/api/record/0.mp3",
            "/mp3/cc-0a1b2c-13-o.mp3",
            "/mp3/cc-ffffff-12-o.mp3",
            "/mp3/1795420800.12.mp3",
            "/mp3/...mp3",
        ):
            await self.refused(path, 404, "record_unknown")
        for path in (
            "/mp3/..%2f..%2fetc%2fpasswd.mp3",
            "/mp3/%2e%2e/12.mp3",
            "/mp3/a%00.mp3",
            "/api/record/12.ogg",
            "/api/record/%31%32.wav%0a",
            "/api/record/١٢.wav".encode().decode("latin-1").replace("\xd9", "%d9"),
        ):
            await self.refused(path.encode("ascii", "replace").decode(), 404, "unknown_method")

    async def test_what_the_recordings_refuse(self) -> None:
        """A refusal of the recordings is told as it is."""

        async def busy(_: Any) -> Path:
            raise Refused(Code.NOT_READY, "too many", retry_after=5)

        self.world.recordings.mp3 = busy  # type: ignore[method-assign,assignment]
        await self.refused(MP3, 503, "not_ready")
        self.world.recordings.files.clear()
        await self.refused(WAV, 404, "record_unknown")

    async def test_a_file_that_goes_at_the_last_moment(self) -> None:
        """A file removed between being found and being sent is unknown, in the envelope."""
        (self.folder / "12.wav").unlink()
        await self.refused(WAV, 404, "record_unknown")

    async def test_a_file_that_cannot_be_opened(self) -> None:
        """What goes wrong with the file is an internal error, in the envelope."""
        (self.folder / "12.wav").unlink()
        (self.folder / "12.wav").mkdir()
        self.world.recordings.files[record(12).path] = self.folder / "12.wav" / "x\0"
        await self.refused(WAV, 500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_a_file_that_may_not_be_read(self) -> None:
        """Nor does a page of twisted.web's come where the daemon's user has no right to it."""

        def forbidden(_: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(File, "openForReading", forbidden)
        await self.refused(WAV, 500, "internal_error")
        (logged,) = self.flushLoggedErrors(RuntimeError)
        self.assertIn("a recording cannot be read: [Errno 13]", str(logged.value))

    async def test_a_client_that_goes_in_the_middle(self) -> None:
        """A download that is broken off leaves no open file behind."""
        self.add("12.wav", os.urandom(16 << 20))
        client = socket.create_connection(("127.0.0.1", int(self.base.rpartition(":")[2])))
        client.sendall(f"GET {WAV} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await self.until(lambda: self.is_open("12.wav"))
        client.close()
        await self.until(lambda: not self.is_open("12.wav"))

    async def test_a_client_that_takes_nothing(self) -> None:
        """A download that nobody takes for a minute is ended, one that is taken slowly is not."""
        # More than is taken here and fits between the two ends together.
        self.add("12.wav", bytes(64 << 20))
        client = socket.create_connection(("127.0.0.1", int(self.base.rpartition(":")[2])))
        self.addCleanup(client.close)
        client.settimeout(5)
        client.sendall(f"GET {WAV} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await self.until(lambda: self.is_open("12.wav"))
        for _ in range(5):
            await deferLater(cast(Any, reactor), 0.05)
            self.world.clock.advance(59)
            self.assertTrue(self.is_open("12.wav"))
            client.recv(4 << 20, socket.MSG_WAITALL)
        await deferLater(cast(Any, reactor), 0.05)
        self.world.clock.advance(61)
        await self.until(lambda: not self.is_open("12.wav"))
        # twisted.web's own timers go with the connection, a moment later.
        await self.until(lambda: not self.world.clock.getDelayedCalls())

    def is_open(self, name: str) -> bool:
        """Say whether this process has the file open."""
        links = Path("/proc/self/fd").iterdir()
        return any(os.path.basename(_target(link)) == name for link in links)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; the test's own time limit ends it."""
        clock: Any = reactor
        while not is_so():
            await deferLater(clock, 0.01)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
