"""Recordings in stereo: the operator on the left, the client on the right, whoever called whom."""

from __future__ import annotations

import wave
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, SECOND, HearingCase, InboundHearingCase

STEREO = {"asterisk": {**HearingCase.tables["asterisk"], "stereo": True}}
#: By how many seconds a recording may be longer or shorter than the talk.
APART = 0.4


class StereoCase(HearingCase):
    """Can look at a stereo file."""

    def file_of(self, record: Mapping[str, Any]) -> Path:
        """Where a recording lies."""
        return Path(self.lab.asterisk.recordings_on_host, record["path"])

    def is_stereo(self, record: Mapping[str, Any]) -> None:
        """See that there is one file, with two channels, and that its record measures it."""
        file = self.file_of(record)
        with wave.open(str(file)) as opened:
            self.assertEqual((opened.getnchannels(), opened.getframerate()), (2, 8000))
            seconds = opened.getnframes() / opened.getframerate()
        self.assertAlmostEqual(seconds, record["duration"], 2)
        self.assertEqual(record["size"], file.stat().st_size)
        self.assertEqual(list(file.parent.glob(f"{file.stem}*")), [file])

    def sides(
        self, record: Mapping[str, Any], begin: float, end: float
    ) -> tuple[set[str], set[str]]:
        """Who is heard on the left and on the right."""
        return self.in_file(record, begin, end, 0), self.in_file(record, begin, end, 1)


@on_16(nightly=True)
class OutboundStereoTests(StereoCase):
    """The recording is the client's."""

    tables = {**HearingCase.tables, **STEREO}

    async def test_a_talk_with_a_pause(self) -> None:
        """Each is on their side and nowhere else; in a pause nobody is."""
        call_id = await self.talk()
        await self.sleep(1.5)
        await self.ask("recordPause", call_id=call_id)
        await self.sleep(1.5)
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(1.5)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        call = await self.ask("call", call_id=call_id)
        record = await self.recorded(call_id)
        self.is_stereo(record)
        self.assertApproximates(record["duration"], call["talk_seconds"], APART)
        [[begin, end]] = record["pauses"]
        both = ({"operator"}, {"client"})
        self.assertEqual(self.sides(record, 0.2, begin - 0.2), both)
        self.assertEqual(self.sides(record, begin + 0.3, end - 0.2), (set(), set()))
        self.assertEqual(self.sides(record, end + 0.3, record["duration"] - 0.2), both)

    async def test_a_transfer(self) -> None:
        """The second operator is on the operators' side of the same file."""
        call_id = await self.talk()
        await self.sleep(1.5)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        self.is_stereo(record)
        end = record["duration"]
        self.assertEqual(self.sides(record, 0.2, 1.2), ({"operator"}, {"client"}))
        self.assertEqual(self.sides(record, end - 1.2, end - 0.2), ({"second"}, {"client"}))

    async def test_dialled_by_hand(self) -> None:
        """The client is on the right, and on the left whoever dialled."""
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(CLIENT, "1040", password=password, talk=2.5)
        await self.is_up(CLIENT)
        [state] = await self.ask("callHistory", per_page=1)
        await self.finished(state["call_id"])
        record = await self.recorded(state["call_id"])
        self.is_stereo(record)
        end = record["duration"] - 0.3
        self.assertEqual(self.in_file(record, 0.3, end, 1), {"client"})
        self.assertNotIn("client", self.in_file(record, 0.3, end, 0))
        with wave.open(str(self.file_of(record))) as opened:
            left = array("h", opened.readframes(opened.getnframes()))[0::2]
        self.assertGreater(max(left), 1000, "nobody is on the left")


@on_16(nightly=True)
class InboundStereoTests(StereoCase, InboundHearingCase):
    """Each operator has a recording of their own."""

    tables = {**InboundHearingCase.tables, **STEREO}

    async def test_a_transfer(self) -> None:
        """In both files the operator is on the left and the client on the right."""
        call_id = await self.incoming()
        await self.sleep(2.0)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        records = await self.records(call_id, 2)
        legs = (await self.ask("call", call_id=call_id))["legs"]
        talks = [leg["talk_seconds"] for leg in legs if leg["sip"] in (OPERATOR, SECOND)]
        for record, talked, who in zip(records, talks, ("operator", "second"), strict=True):
            self.is_stereo(record)
            self.assertApproximates(record["duration"], talked, APART)
            heard = self.sides(record, 0.3, record["duration"] - 0.3)
            self.assertEqual(heard, ({who}, {"client"}))


class MonoTests(StereoCase):
    """Nothing is configured."""

    async def test_one_channel(self) -> None:
        """Both are in the one channel, and nothing lies beside the file."""
        call_id = await self.talk()
        await self.sleep(1.5)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        file = self.file_of(record)
        with wave.open(str(file)) as opened:
            self.assertEqual(opened.getnchannels(), 1)
        self.assertEqual(list(file.parent.glob(f"{file.stem}*")), [file])
        self.assertEqual(
            self.in_file(record, 0.2, record["duration"] - 0.2), {"operator", "client"}
        )
