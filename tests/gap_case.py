"""A gap in the session: a real journal, a real file of channel events, a fake Asterisk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher

from ccdaemon.calls.model import StateChange
from ccdaemon.config import parse
from ccdaemon.tracking.resync import LOOK_EVERY
from tests.fake_asterisk import event
from tests.store.parts import ANSWERED
from tests.switchboard.test_switchboard import CONFIG, SwitchboardCase

TRACES = Path(__file__).parent / "traces" / "22-pjsip"
TALK = list(ANSWERED)
#: Milliseconds from the call to the end of the talk in its rows.
TALK_ENDS = 3630
_ANCHOR = re.compile(r"cc-[0-9a-f]+-[0-9]+-o")
#: How a row ends that has neither a userfield nor an accountcode.
EMPTY = '"",""\n'
_TIME = re.compile(r'(?<=",")[0-9]{10}\.[0-9]{6}(?=",")')


class GapCase(SwitchboardCase):
    """A session that comes and goes."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Keep what is logged."""
        self.warned: list[str] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return super().setUp()

    def note(self, logged: LogEvent) -> None:
        """A line of the log."""
        if logged["log_namespace"].startswith("ccdaemon.tracking.cel_reader"):
            self.warned.append(logged["log_format"].format(**logged))

    async def begin(self) -> None:
        """The daemon's first session."""
        await self.channel_log.begin()
        await self.session_up()
        await self.wait_for_the_log()

    async def begin_again(self) -> None:
        """The daemon is started anew, with the same journal."""
        self.catching_up.down()
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.live.expect_recordings()
        await self.begin()

    def rows(self, name: str, call_id: int, after: float = 1.0) -> list[str]:
        """What Asterisk writes of a call that begins so many seconds from now."""
        text = (TRACES / f"{name}.cel").read_text("utf-8")
        text = _ANCHOR.sub(self.anchor(call_id)["Linkedid"], text)
        first = float(_TIME.findall(text)[0])
        now = self.clock.seconds()
        text = _TIME.sub(lambda time: f"{now + after + float(time[0]) - first:.6f}", text)
        return text.splitlines(keepends=True)

    def has_channel(self, call_id: int) -> None:
        """Asterisk has the channel of the call's operator, not answered yet."""
        headers = {"Channel": "PJSIP/1000-1", "ChannelState": "5", **self.anchor(call_id)}
        self.asterisk.channels.append(event("CoreShowChannel", **headers))

    def a_call_in(self) -> list[str]:
        """What Asterisk writes of a call that operator 1000 takes."""
        client, operator = ("17.1", "PJSIP/trunk-1"), ("17.2", "PJSIP/1000-2")
        cause = '{"hangupcause":16,"hangupsource":"PJSIP/trunk-1","dialstatus":""}'
        rows = [
            ("CHAN_START", 1.0, *client, ""),
            ("ccdaemon-incoming", 1.0, *client, '{"extra":"380639920000|380440000000"}'),
            ("ccdaemon-ask", 1.1, *client, '{"extra":"1000||1"}'),
            ("CHAN_START", 1.1, *operator, ""),
            ("ANSWER", 2.0, *operator, ""),
            ("ANSWER", 2.0, *client, ""),
            ("HANGUP", 9.0, *operator, cause),
            ("HANGUP", 9.0, *client, cause),
        ]
        return [self.row(*row) for row in rows]

    def row(self, name: str, after: float, uniqueid: str, channel: str, extra: str) -> str:
        """A line of the file."""
        time = f"{self.clock.seconds() + after:.6f}"
        cells = [name, time, uniqueid, "17.1", channel, *[""] * 7, extra, "", ""]
        return ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells) + "\n"

    def write(self, rows: list[str]) -> None:
        """Asterisk writes rows."""
        with self.cel_file.open("a", encoding="utf-8") as stream:
            stream.writelines(rows)

    async def states(self, call_id: int) -> list[StateChange]:
        """The states of a call with their dates."""
        await self.wait_until(lambda: not self.log.health.waiting)
        kept = await self.log.chain(call_id)
        assert kept is not None
        return [row.state for row in kept.states]

    async def minutes(self, count: int) -> None:
        """Let time pass with the session up."""
        for _ in range(count):
            self.clock.advance(LOOK_EVERY)
            await self.wait_for_the_log()
