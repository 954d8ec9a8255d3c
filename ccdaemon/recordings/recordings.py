"""Recordings on disk: where they belong, when they are complete, where they are served from.

Asterisk writes them; the daemon only reads. Knows no HTTP, and of the history only the fact that
it writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls.model import CallView, Direction, Record
from ccdaemon.calls.recording_pauses import Spans, pauses_of
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.mp3 import InThread, Mp3Cache
from ccdaemon.recordings.sound import ENDS, Sound, listen
from ccdaemon.recordings.stereo import drop_sides, join_sides
from ccdaemon.recordings.wav import NotComplete, NotSupported
from ccdaemon.store.facts import Fact, RecordFact
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.records import Chain

#: For how many seconds after the talk a recording is looked at by itself. A network file system may
#: show a file's end a minute late.
COMPLETE_WITHIN = 180.0
#: How many seconds lie between two rounds through those that take longer, and after how many of
#: them one is given up: after a restart, too, those of the last day are waited for.
LATE_EVERY, LATE_FOR = 60.0, 86_400.0
#: For how many of them the two sides of a stereo recording are waited for.
SIDES_WITHIN = 60.0
#: How many seconds lie between two looks at a file: at first, and later on.
FIRST_LOOK, LAST_LOOK = 0.2, 5.0
#: After how many seconds a file that is not in its place is looked for elsewhere, and how many lie
#: between two searches; among no more files than that, and how long its name has to be.
MOVED_AFTER, SEARCH_EVERY = 10.0, 60.0
MOST_LOOKED_AT = 200_000
LEAST_STEM = 8
#: After how many seconds the journal is asked again to keep a recording.
KEEP_AGAIN = 5.0
#: How many recordings are looked at by themselves at once, and how many in rounds.
MOST_EXPECTED, MOST_LATE = 2000, 100_000

_EPOCH = datetime(1970, 1, 1)
#: What a recording can be called: what file names, addresses and headers take everywhere.
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,149}"
_NAME = re.compile(NAME, re.ASCII)
#: What the dialplan's FILTER() leaves out of a uniqueid.
_LEFT_OUT = re.compile(r"[^A-Za-z0-9._-]")
_OUR_CHANNEL = re.compile(r"cc-[0-9a-f]{6}-([0-9]{1,10})-[a-z0-9]+", re.ASCII)
_log = Logger()


def recording_name(uniqueid: str) -> str:
    """Say what the recording of a channel is called: the uniqueid, but for odd letters.

    Asterisk begins its uniqueids with ``systemname``, which may hold blanks and any alphabet. The
    dialplan leaves out the same letters.

    :raises ValueError: for a uniqueid that no file can be named after.
    """
    name = _LEFT_OUT.sub("", uniqueid)
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"no file can be named after {uniqueid!r}")
    return name


def relative_path(uniqueid: str, date: int) -> str:
    """Say where the recording of a channel belongs, below the recordings folder.

    :param date: when the call began, in ms since 1970; its day in UTC names the folder.
    :raises ValueError: as ``recording_name`` does.
    """
    return f"{day_folder(date)}/{recording_name(uniqueid)}.wav"


def day_folder(date: int) -> str:
    """Say where the recordings of a day's calls belong, below the recordings folder."""
    return f"{_EPOCH + timedelta(milliseconds=date):%Y/%m/%d}"


def channels_recorded(call: CallView) -> list[str]:
    """Name the channels after which the recordings of a call's talks are named, by uniqueid.

    An outbound call is recorded on the client's channel, whoever they talk with, and named after
    its anchor; an inbound one on the channel of each operator who talked.
    """
    if call.answered is None:
        return []
    if call.direction is Direction.OUTBOUND:
        return [call.anchor] if call.anchor is not None else []
    return [
        leg.channel
        for leg in call.legs
        if leg.name != "client" and leg.channel is not None and leg.answered is not None
    ]


def recordings_of(
    call: CallView, folder: PurePosixPath | None = None, *, ours: bool = True
) -> list[tuple[str, str]]:
    """Name the recordings of a call's talks, each by its uniqueid and path.

    What Asterisk has said that it records counts, whoever began it. Where it said nothing of an
    inbound call, it is taken to be what our own dialplan does.

    :param folder: the recordings folder as Asterisk sees it; of files elsewhere nothing is known.
    :param ours: whether our own dialplan records the call.
    """
    found: dict[str, str] = {}
    if ours and (call.direction is Direction.OUTBOUND or not call.recordings):
        for channel in channels_recorded(call):
            with suppress(ValueError):
                found[relative_path(channel, call.date)] = recording_name(channel)
    for channel, file in call.recordings:
        path = _below(folder, file)
        if path is not None and path not in found:
            with suppress(ValueError):
                found[path] = _unused(recording_name(channel), found.values())
    return [(uniqueid, path) for path, uniqueid in found.items()]


def _below(folder: PurePosixPath | None, file: str) -> str | None:
    """The path below the recordings folder of a file of Asterisk's; None if it is elsewhere."""
    path = PurePosixPath(file)
    if ".." in path.parts or not file.isprintable():
        return None
    if not path.is_absolute():
        return str(path)
    is_below = folder is not None and path.is_relative_to(folder)
    return str(path.relative_to(folder)) if folder is not None and is_below else None


def _unused(name: str, taken: Collection[str]) -> str:
    """A channel may be recorded into several files at a time: what none of them is called yet."""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(one for one in names if one not in taken)


def call_id_of(uniqueid: str) -> int | None:
    """Read the call out of the uniqueid of a channel that we named; None for any other."""
    found = _OUR_CHANNEL.fullmatch(uniqueid)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class _Expected:
    call_id: int
    uniqueid: str
    path: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A whole recording: where it is below the folder, and what it holds."""

    path: str
    sound: Sound


class Recordings(Service):
    """The recordings folder.

    :param root: the folder as the daemon sees it (``recordings_mount``).
    :param append: the journal's: fires with the events' ids when the facts are kept.
    :param chain: the journal's: what is known of a call.
    :param remove: removes recordings by uniqueid and path.
    :ivar given_up: how many recordings are not waited for any more, and not registered.
    """

    def __init__(
        self,
        root: Path,
        append: Callable[[Sequence[Fact]], Deferred[list[int]]],
        chain: Callable[[int], Deferred[Chain | None]],
        clock: IReactorTime,
        wall: WallClock,
        in_thread: InThread,
        mp3: Mp3Cache,
        remove: Callable[[Sequence[tuple[str, str]]], Awaitable[object]],
    ) -> None:
        self._root = root
        self._append = append
        self._chain = chain
        self._clock = clock
        self._wall = wall
        self._in_thread = in_thread
        self._mp3 = mp3
        self._expected: dict[_Expected, Deferred[None]] = {}
        # Those that are looked at in rounds, and since when each is waited for.
        self._late: dict[_Expected, float] = {}
        # Of calls that have been forgotten; what is written of them afterwards goes, too.
        self._unwanted: set[_Expected] = set()
        self._remove = remove
        self._later: IDelayedCall | None = None
        self._round: Deferred[None] | None = None
        self.given_up = 0

    @property
    def expected(self) -> int:
        """How many recordings are waited for."""
        return len(self._expected) + self.late

    @property
    def late(self) -> int:
        """How many of them take longer than a recording should, or have to wait for others."""
        return len(self._late)

    def startService(self) -> None:
        """Tidy the mp3 folder up."""
        Service.startService(self)
        self._mp3.clean()

    def stopService(self) -> Deferred[Any]:
        """Wait for nothing any more; fires when no thread makes an mp3."""
        Service.stopService(self)
        for waiting in list(self._expected.values()):
            waiting.cancel()
        self._late.clear()
        self._unwanted.clear()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._round is not None:
            self._round.cancel()
        return self._mp3.stop()

    def expect(self, call_id: int, uniqueid: str, path: str) -> None:
        """Register a recording as soon as it is complete; to be told when the talk is over.

        Nothing is kept of it: after a restart it has to be told again. Telling twice is the same
        as once.

        :param path: below the recordings folder, as :func:`relative_path` made it.
        """
        expected = _Expected(call_id, uniqueid, path)
        if expected in self._expected or expected in self._late:
            return
        if len(self._expected) >= MOST_EXPECTED:
            self._put_off(expected, self._clock.seconds())
            return
        waiting = Deferred.fromCoroutine(self._register(expected))
        self._expected[expected] = waiting
        waiting.addErrback(_report, expected)
        waiting.addCallback(lambda _: self._over(expected))

    def forget(self, calls: Collection[int]) -> None:
        """Register nothing of these calls any more; what is still to come of them is removed."""
        waited_for, gone = {*self._expected, *self._late}, {*calls}
        self._unwanted |= {one for one in waited_for if one.call_id in gone}

    async def wav(self, record: Record) -> Path:
        """Find a recording's file.

        :raises Refused: with ``record_unknown`` if it is not in the recordings folder.
        """
        found = await self._in_thread(self._locate, record.path)
        if found is None:
            raise Refused(Code.RECORD_UNKNOWN, "the recording's file is not there any more")
        return found

    async def mp3(self, record: Record) -> Path:
        """Find a recording's mp3, or make it.

        :raises Refused: as :meth:`wav` does, or ``not_ready`` with the time to come again.
        """
        found = await self.wav(record)
        if _NAME.fullmatch(record.uniqueid) is None:
            raise Refused(Code.RECORD_UNKNOWN, "no file can be named after this recording")
        if found.suffix == ".mp3":
            return found
        return await self._mp3.get(record.uniqueid, found)

    def _over(self, expected: _Expected) -> None:
        del self._expected[expected]
        if expected not in self._late:
            self._unwanted.discard(expected)

    async def _register(self, expected: _Expected) -> None:
        began = self._clock.seconds()
        seen = await self._complete(expected, began)
        if expected in self._unwanted:
            await self._discard(expected)
        elif seen is None:
            self._put_off(expected, began)
        else:
            await self._found(expected, seen)

    async def _discard(self, expected: _Expected) -> None:
        await self._remove([(recording_name(expected.uniqueid), expected.path)])
        _log.info("Recording of call {call_id} is removed", call_id=expected.call_id)

    async def _found(self, expected: _Expected, seen: _Seen) -> None:
        record = Record(
            call_id=expected.call_id,
            uniqueid=recording_name(expected.uniqueid),
            path=seen.path,
            format=seen.sound.format,
            size=seen.sound.size,
            duration=seen.sound.duration,
            date=int(self._wall.seconds() * 1000),
            pauses=await self._pauses(expected, seen.sound.duration),
        )
        if await self._keep(expected, RecordFact(record)):
            _log.info(
                "Recording of call {call_id} is complete: {path}, {duration} s",
                call_id=record.call_id,
                path=record.path,
                duration=record.duration,
            )
        else:
            await self._discard(expected)

    async def _pauses(self, expected: _Expected, duration: float) -> Spans:
        try:
            chain = await self._chain(expected.call_id)
        except (JournalBroken, JournalFull):
            return ()
        if chain is None:
            return ()
        actions = [row.action for row in chain.actions]
        return pauses_of(chain.call, expected.uniqueid, actions, duration)

    def _put_off(self, expected: _Expected, began: float) -> None:
        """Look at it in rounds from now on."""
        if len(self._late) >= MOST_LATE:
            self._give_up(expected, f"{MOST_LATE} others are late, too")
            return
        self._late[expected] = began
        self._go_round_later()

    def _go_round_later(self) -> None:
        if self._late and self._later is None and self._round is None and self.running:
            self._later = self._clock.callLater(LATE_EVERY, self._go_round)

    def _go_round(self) -> None:
        self._later = None
        self._round = Deferred.fromCoroutine(self._look_at_late())
        self._round.addErrback(lambda failure: failure.trap(CancelledError))
        self._round.addCallback(self._round_over)

    def _round_over(self, _: object) -> None:
        self._round = None
        self._go_round_later()

    async def _look_at_late(self) -> None:
        """Look once at each, one after the other."""
        for expected, began in tuple(self._late.items()):
            waited = self._clock.seconds() - began
            try:
                seen = await self._in_thread(self._look, expected.path, False, False)
                if expected in self._unwanted:
                    await self._discard(expected)
                elif isinstance(seen, _Seen):
                    await self._found(expected, seen)
                elif waited >= LATE_FOR:
                    self._give_up(expected, seen)
                else:
                    continue
            except CancelledError:
                raise
            except Exception:
                self.given_up += 1
                _report(Failure(), expected)
            self._late.pop(expected, None)
            self._unwanted.discard(expected)

    def _give_up(self, expected: _Expected, reason: str) -> None:
        self.given_up += 1
        _log.error(
            "Recording of call {call_id} is given up: {path} {reason}",
            call_id=expected.call_id,
            path=str(self._root / expected.path),
            reason=reason,
        )

    async def _complete(self, expected: _Expected, began: float) -> _Seen | None:
        """Look at the file until it is complete; None if it takes too long."""
        pause, search_after = FIRST_LOOK, MOVED_AFTER
        while True:
            waited = self._clock.seconds() - began
            is_moved = waited >= search_after
            search_after += SEARCH_EVERY if is_moved else 0
            seen: _Seen | str = await self._in_thread(
                self._look, expected.path, waited < SIDES_WITHIN, is_moved
            )
            if isinstance(seen, _Seen):
                return seen
            if waited >= COMPLETE_WITHIN and expected in self._unwanted:
                return None
            if waited >= COMPLETE_WITHIN:
                _log.warn(
                    "No recording of call {call_id} yet: {path} {reason}. It is looked for once in"
                    " a while, for a day",
                    call_id=expected.call_id,
                    path=str(self._root / expected.path),
                    reason=seen,
                )
                return None
            await deferLater(self._clock, pause)
            pause = min(pause * 2, LAST_LOOK)

    async def _keep(self, expected: _Expected, fact: RecordFact) -> bool:
        """Have the fact written, however long the journal cannot write.

        :returns: false if nobody wants it any more.
        """
        told = False
        while expected not in self._unwanted:
            try:
                await self._append([fact])
                return expected not in self._unwanted
            except (JournalFull, JournalBroken) as error:
                if not told:
                    _log.warn(
                        "Recording of call {call_id} waits for the journal: {reason}",
                        call_id=fact.call_id,
                        reason=str(error),
                    )
                told = True
            await deferLater(self._clock, KEEP_AGAIN)
        return False

    # From here on: in a thread.

    def _locate(self, path: str) -> Path | None:
        """Follow every link; what lies outside the recordings folder is not there."""
        root = self._root.resolve()
        try:
            found = (root / path).resolve()
            inside = found.is_relative_to(root) and found.is_file()
        except (OSError, ValueError, RuntimeError):
            return None
        return found if inside else None

    def _look(self, path: str, want_sides: bool, is_moved: bool) -> _Seen | str:
        """Measure the file, or say what is wrong with it in words for an administrator.

        Makes it a stereo file first if its two sides lie beside it. A script may have made another
        format of it, or moved it.
        """
        found = self._locate(path)
        if found is None:
            path = self._elsewhere(path, is_moved) or path
            found = self._locate(path)
        if found is None:
            return (
                "is not there; does recordings_mount name the folder that Asterisk knows as"
                " recordings_dir, and may Asterisk write there?"
            )
        try:
            sound = listen(found)
            if sound.format == "wav":
                self._join(found, want_sides)
                sound = listen(found)
            return _Seen(path, sound)
        except OSError as error:
            return f"cannot be read: {error.strerror}; may the daemon's user read it?"
        except NotComplete as error:
            return f"is not complete: {error}; did Asterisk crash, or is its disk full?"
        except NotSupported as error:
            return f"cannot be used: {error}"

    def _elsewhere(self, path: str, is_moved: bool) -> str | None:
        """The same recording in another format, in its place or anywhere below the folder."""
        here = PurePosixPath(path)
        for end in ENDS:
            other = str(here.with_suffix(f".{end}"))
            if self._locate(other) is not None:
                return other
        if not is_moved or len(here.stem) < LEAST_STEM:
            return None
        seen = 0
        for folder, _, names in os.walk(self._root):
            for name in names:
                if PurePosixPath(name).stem == here.stem and name.rpartition(".")[2] in ENDS:
                    return str((Path(folder) / name).relative_to(self._root))
            seen += len(names)
            if seen > MOST_LOOKED_AT:
                break
        return None

    def _join(self, file: Path, want_sides: bool) -> None:
        """Make a stereo file of the two sides; without them the file stays as it is."""
        try:
            join_sides(file)
        except (OSError, NotComplete, NotSupported) as error:
            if want_sides:
                raise NotComplete(f"its sides are not put together: {error}") from error
            _log.warn("{path} is not in stereo: {reason}", path=str(file), reason=str(error))
            drop_sides(file)


def _report(failure: Any, expected: _Expected) -> None:
    if failure.check(CancelledError) is None:
        _log.failure(
            "Recording of call {call_id} is not registered", failure, call_id=expected.call_id
        )
