"""Recordings that begin while they are paused: a transfer in a pause stays one.

The dialplan begins them, says so, and lets nobody be heard in them until they are silent; where
nobody makes them so in time it ends them again. Keeps nothing: what is paused is a variable of the
channels.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.ami.ami_wire import Message
from ccdaemon.pbx.dialplan import PAUSED, Variable


class RecordingPause:
    """Makes recordings silent that begin in a pause."""

    log = Logger()

    def __init__(self, ami: AMIActions) -> None:
        self._ami = ami

    def heard(self, session: object, event: Message) -> None:
        """A UserEvent was heard."""
        if event.get("UserEvent") == PAUSED:
            Deferred.fromCoroutine(self.silence(event.get("Uniqueid")))

    async def silence(self, channel: str) -> None:
        """Have silence recorded on a channel, and say there that it is.

        Only on one that says itself that it is paused: an event alone silences nobody.
        """
        try:
            if await self._ami.getVar(channel, Variable.PAUSED) != "1":
                self.log.warn("{channel} is not paused and stays as it is", channel=channel)
                return
            await self._ami.mixMonitorMute(channel, True)
            await self._ami.setVar(channel, Variable.SILENT, "1")
        except AMIError as error:
            self.log.warn(
                "the recording on {channel} begins in a pause and ends: {error}",
                channel=channel,
                error=error,
            )
