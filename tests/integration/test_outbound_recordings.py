"""The recording of a talk: what is in it, when it is told of, how it is fetched."""

from __future__ import annotations

import io
import math
import struct
import urllib.request
import wave
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.threads import deferToThread

from lab.stack import CLIENT_HERTZ, OPERATOR_HERTZ
from tests.integration.harness import LiveTestCase

#: How loud a tone has to be, and how loud what is no tone of the lab may be; 1 is full scale.
HEARD, UNHEARD = 0.05, 0.01
#: A frequency that nobody sings.
NOBODYS_HERTZ = 620
RATE = 8000


def loudness(samples: Sequence[int], hertz: int) -> float:
    """How loud a tone is in the samples, 1 being full scale."""
    turn = 2 * math.pi * hertz / RATE
    real = sum(sample * math.cos(turn * at) for at, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(turn * at) for at, sample in enumerate(samples))
    return 2 * math.hypot(real, imaginary) / len(samples) / 32768


def samples_of(wav: bytes) -> Sequence[int]:
    """The samples of a file with one channel of 16 bits at 8 kHz."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        count = file.getnframes()
        return struct.unpack(f"<{count}h", file.readframes(count))


class RecordingTests(LiveTestCase):
    """One talk: the client's phone rings for three seconds, then they talk for some two."""

    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 5}}
    _made: ClassVar[dict[str, Any] | None] = None

    async def record(self) -> dict[str, Any]:
        """The talk's recording as recordList has it; the talk is had for the first test."""
        if RecordingTests._made is None:
            RecordingTests._made = await self.talk()
        return RecordingTests._made

    async def talk(self) -> dict[str, Any]:
        """Have the talk; its recording once it is listed, and it is not while they talk."""
        # 03 hangs up 5 s after they picked up, of which 02 lets them wait for 3.
        call_id = await self.make_call("1003", "380670088802", order_id="recorded")

        async def talking() -> bool:
            return "CLIENT_PICKUP" in await self.chain(call_id)

        await self.wait_for(talking, 10.0, "they talk")
        self.assertEqual(await self.listed(call_id), [])
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")

        async def listed() -> list[dict[str, Any]]:
            return await self.listed(call_id)

        [record] = await self.wait_for(listed, 5.0, "the recording is listed")
        return record

    async def listed(self, call_id: int) -> list[dict[str, Any]]:
        """A call's recordings, as recordList has them."""
        records = (await self.ask("recordList", per_page=1000))["data"]
        return [record for record in records if record["call_id"] == call_id]

    async def length(self, path: str) -> int:
        """What Content-Length says, which Twisted's own client keeps to itself."""
        asked = urllib.request.Request(f"{self.daemon.url}{path}", method="HEAD")
        with await deferToThread(urllib.request.urlopen, asked, timeout=10.0) as answer:
            return int(answer.headers["Content-Length"])

    async def test_length(self) -> None:
        """It is as long as the talk, by the file: it holds nothing of the ringing before."""
        record = await self.record()
        [call] = await self.ask("callHistory", call_id=record["call_id"])
        self.assertApproximates(record["duration"], call["talk_seconds"], 0.3)
        self.assertGreater(call["talk_seconds"], 1.5)
        status, _, body = await self.request(f"/api/record/{record['call_id']}.wav")
        self.assertEqual((status, len(body)), (200, record["size"]))
        self.assertApproximates(len(samples_of(body)) / RATE, record["duration"], 0.001)

    async def test_both_are_heard(self) -> None:
        """The tones of both phones are in it, from its first half second to its last."""
        record = await self.record()
        _, _, body = await self.request(f"/api/record/{record['call_id']}.wav")
        samples = samples_of(body)
        for part in (samples[:4000], samples[-6000:-2000]):
            for hertz in (OPERATOR_HERTZ, CLIENT_HERTZ):
                self.assertGreater(loudness(part, hertz), HEARD, hertz)
            self.assertLess(loudness(part, NOBODYS_HERTZ), UNHEARD)

    async def test_wav(self) -> None:
        """The wav is the file as it lies on the disk."""
        record = await self.record()
        path = f"/api/record/{record['call_id']}.wav"
        status, headers, body = await self.request(path)
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "audio/wav")
        self.assertEqual(await self.length(path), len(body))
        file = self.lab.asterisk.recordings_on_host / record["path"]
        self.assertEqual(body, file.read_bytes())

    async def test_mp3(self) -> None:
        """The mp3 is the same under its call and, for deployed clients, under its uniqueid."""
        record = await self.record()
        path = f"/api/record/{record['call_id']}.mp3"
        status, headers, body = await self.request(path)
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "audio/mpeg")
        self.assertEqual(await self.length(path), len(body))
        self.assertEqual(int.from_bytes(body[:2], "big") & 0xFFE0, 0xFFE0, "no frame of an mp3")
        self.assertLess(len(body), record["size"])
        again = await self.request(f"/mp3/{record['uniqueid']}.mp3")
        self.assertEqual((again[0], again[2]), (200, body))

    async def test_ranges(self) -> None:
        """A piece, the end and what lies beyond it, of either form."""
        record = await self.record()
        for path in (f"/api/record/{record['call_id']}.wav", f"/mp3/{record['uniqueid']}.mp3"):
            _, _, whole = await self.request(path)
            for asked, first, last in (
                ("bytes=0-99", 0, 99),
                ("bytes=100-", 100, len(whole) - 1),
                ("bytes=-50", len(whole) - 50, len(whole) - 1),
            ):
                status, headers, piece = await self.request(path, headers={"Range": asked})
                self.assertEqual((status, piece), (206, whole[first : last + 1]), asked)
                wanted = f"bytes {first}-{last}/{len(whole)}"
                self.assertEqual(headers["content-range"], wanted)
            beyond = {"Range": f"bytes={len(whole)}-"}
            status, _, _ = await self.request(path, headers=beyond)
            self.assertEqual(status, 416)

    async def test_order_records(self) -> None:
        """The order has it, with what deployed clients read: uniqueid and path."""
        record = await self.record()
        [call] = await self.ask("orderRecords", order_id="recorded")
        self.assertEqual(call["records"], [record])
        self.assertEqual(call["uniqueid"], record["uniqueid"])
        self.assertEqual(call["path"], record["path"])
        self.assertEqual(record["format"], "wav")

    async def test_no_talk_no_recording(self) -> None:
        """Calls that nobody answered leave no recording, neither listed nor on the disk."""
        calls = [
            await self.make_call(sip, phone, order_id="unanswered")
            for sip, phone in (("1047", "380670000022"), ("1046", "380670000106"))
        ]
        for call_id in calls:
            await self.finished(call_id)
        await self.sleep(1.0)
        told = await self.ask("orderRecords", order_id="unanswered")
        self.assertEqual(len(told), 2)
        for call in told:
            self.assertEqual((call["records"], call["uniqueid"], call["path"]), ([], None, None))
        record = await self.record()
        node = record["uniqueid"].rsplit("-", 2)[0]
        on_disk = list(self.lab.asterisk.recordings_on_host.rglob(f"{node}-*"))
        self.assertEqual([path.name for path in on_disk], [f"{record['uniqueid']}.wav"])
