"""Sends recordings, and has it noted who was sent which."""

from __future__ import annotations

from ccdaemon.api.files import SentFile
from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.recordings import Recordings, call_id_of
from ccdaemon.schema import by_date
from ccdaemon.store.facts import REVOKE_LINK
from ccdaemon.store.history import History
from ccdaemon.store.records import Chain
from ccdaemon.switchboard.playback_log import PlaybackLog


class Playback:
    """The recordings of calls, as files to be sent."""

    def __init__(self, history: History, recordings: Recordings, listening: PlaybackLog) -> None:
        self._history = history
        self._listening = listening
        self._recordings = recordings

    async def file(
        self,
        *,
        call_id: int | None,
        uniqueid: str | None,
        format: str,
        listener: str | None,
        link: str | None = None,
    ) -> SentFile:
        """Give the recording of a call or of a channel.

        :param call_id: the call, where no channel is named: its first recording.
        :param uniqueid: the channel.
        :param format: ``mp3`` or ``wav``.
        :param listener: the client that is sent it; None: nobody is.
        :param link: by which link, if by one.
        :raises Refused: with ``record_unknown``; with ``forbidden`` where the link was taken back;
            where it cannot be sent now.
        """
        if uniqueid is not None:
            chain = await self._recorded(uniqueid)
        else:
            chain = None if call_id is None else await self._history.call(call_id)
        actions = [row.action for row in chain.actions] if chain and link else []
        if any(done.action == REVOKE_LINK and done.note == link for done in actions):
            raise Refused(Code.FORBIDDEN, "this link was taken back")
        records = by_date(chain.records) if chain else []
        wanted = [record for record in records if uniqueid in (None, record.uniqueid)]
        if not wanted:
            raise Refused(Code.RECORD_UNKNOWN, "there is no such recording")
        if format == "wav":
            sent = SentFile(await self._recordings.wav(wanted[0]), "audio/wav")
        else:
            sent = SentFile(await self._recordings.mp3(wanted[0]), "audio/mpeg")
        if listener is not None:
            self._listening.played(wanted[0].call_id, wanted[0].uniqueid, listener, link)
        return sent

    async def _recorded(self, uniqueid: str) -> Chain | None:
        """The call whose recording is named after a channel: ours, or one of Asterisk's names."""
        call_id = call_id_of(uniqueid)
        if call_id:
            return await self._history.call(call_id)
        return await self._history.by_recording(uniqueid)
