"""How each part is looked at: from what a part says of itself to a condition and words.

Pure functions over what the parts show; each makes the probe that ``ccdaemon.health.health`` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.clocks import WallClock
from ccdaemon.consumers.consumer import ConsumerHealth
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.consumers.webhooks.webhooks import WebhookHealth, Webhooks
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.health.disk import FolderWatch
from ccdaemon.health.health import Condition, Probe, Seen
from ccdaemon.store.journal import WAITING, Journal
from ccdaemon.store.postgres import Database
from ccdaemon.tracking.calls import LiveCalls

OK, DEGRADED, FAILING = Condition

#: Bytes below which a disk is nearly full, and below which nothing can be counted on.
LITTLE_ROOM, NO_ROOM = 1 << 30, 50 << 20
#: Events by which Postgres may be behind without a word, and seconds for which it may be.
BEHIND_EVENTS, BEHIND_SECONDS = 5_000, 30.0
#: Seconds for which a call that could not be followed is told.
TOLD_FOR = 3600.0
#: Call numbers below which a new lease is overdue.
FEW_NUMBERS = 1_000


def asterisk(ami: AMIClient, in_doubt: Callable[[], bool] = lambda: False) -> Probe:
    """The session with Asterisk.

    :param in_doubt: whether somebody writes into its events just now.
    """

    def probe() -> Seen:
        if ami.session is not None and in_doubt():
            return Seen(DEGRADED, "somebody's phone writes into its events: see docs/security.md")
        if ami.session is not None:
            return Seen(OK)
        why = ami.trouble
        return Seen(FAILING, f"no session: {why}" if why else "no session yet")

    return probe


def journal(kept: Journal, folder: FolderWatch) -> Probe:
    """The journal and the disk it is on."""

    def probe() -> Seen:
        health = kept.health
        if kept.not_ready is not None:
            return Seen(FAILING, kept.not_ready, health.waiting)
        room = folder.room
        if room is not None and room.trouble:
            return Seen(DEGRADED, f"{folder.folder} {room.trouble}", health.waiting)
        if room is not None and room.free < LITTLE_ROOM:
            words = f"{_size(room.free)} left on the disk of {folder.folder}"
            return Seen(DEGRADED, words, health.waiting)
        if health.waiting > WAITING // 4:
            words = f"{health.waiting} facts wait for the disk"
            return Seen(DEGRADED, words, health.waiting)
        if health.numbers_left < FEW_NUMBERS:
            words = f"{health.numbers_left} call numbers left; Postgres grants new ones"
            return Seen(DEGRADED, words, health.waiting)
        if health.set_aside is not None:
            return Seen(DEGRADED, f"the journal {health.set_aside}", health.waiting)
        return Seen(OK, None, health.waiting)

    return probe


def calls(live: LiveCalls, wall: WallClock) -> Probe:
    """The calls that are followed."""

    def probe() -> Seen:
        last = live.given_up.last
        if last is not None and wall.seconds() - last[0] / 1000 < TOLD_FOR:
            words = f"{live.given_up.count} could not be followed since the start; {last[1]}"
            return Seen(DEGRADED, words, len(live))
        return Seen(OK, None, len(live))

    return probe


def far_behind(consumer: ConsumerHealth) -> bool:
    """Whether a consumer of the log is farther behind than it should be."""
    return consumer.backlog > BEHIND_EVENTS or consumer.behind > BEHIND_SECONDS


def postgres(database: Database, shipper: Shipper) -> Probe:
    """Postgres, and what is not there yet. While it is away calls go on."""

    def probe() -> Seen:
        shipped = shipper.health
        how_far = (shipped.backlog, round(shipped.behind, 1))
        if not database.up:
            why = database.health.last_error or "not connected yet"
            return Seen(FAILING, f"cannot be asked: {why}", *how_far)
        if shipped.dead_letters:
            words = f"{shipped.dead_letters} facts were refused and are kept in the journal"
            if shipped.last_dead_letter is not None:
                words += f": {shipped.last_dead_letter}"
            return Seen(DEGRADED, words, *how_far)
        if far_behind(shipped):
            return Seen(DEGRADED, f"{shipped.backlog} events behind", *how_far)
        return Seen(OK, None, *how_far)

    return probe


def recordings(folder: FolderWatch, needed_by: Sequence[str] = ()) -> Probe:
    """The recordings folder as the daemon sees it; it is Asterisk that writes there.

    :param needed_by: what of the configuration has the daemon write there, too.
    """

    def probe() -> Seen:
        room = folder.room
        if room is None:
            return Seen(OK, "not looked at yet")
        if room.trouble:
            return Seen(FAILING, f"{folder.folder} {room.trouble}")
        if room.free < NO_ROOM:
            return Seen(FAILING, f"{_size(room.free)} left on the disk of {folder.folder}")
        if room.free < LITTLE_ROOM:
            return Seen(DEGRADED, f"{_size(room.free)} left on the disk of {folder.folder}")
        if not room.writable and needed_by:
            words = f"{folder.folder} cannot be written, as {', '.join(needed_by)} needs"
            return Seen(DEGRADED, words)
        if not room.writable:
            return Seen(OK, f"{folder.folder} may be read, not written, by the daemon's user")
        return Seen(OK)

    return probe


def webhooks(sent: Webhooks, wall: WallClock) -> Probe:
    """All webhooks together, and the consumer that serves them; the words name what is wrong."""

    def probe() -> Seen:
        each: Sequence[WebhookHealth] = sent.health
        oldest = min((one.oldest for one in each if one.oldest is not None), default=None)
        now = wall.seconds() * 1000
        reading = sent.reading
        behind = max(now - oldest, 0) / 1000 if oldest is not None else 0.0
        waiting = sum(one.backlog for one in each) + reading.backlog
        how_far = (waiting, round(max(behind, reading.behind), 1))
        if sent.broken is not None:
            return Seen(FAILING, sent.broken, *how_far)
        wrong = [words for one in each if (words := _wrong(one))]
        if reading.trouble is not None:
            wrong.append(f"the journal cannot be read on: {reading.trouble}")
        elif far_behind(reading):
            wrong.append(f"the journal is read {reading.backlog} events behind")
        if reading.dead_letters:
            last = reading.last_dead_letter
            why = f", the last one {last}" if last else ""
            wrong.append(f"{reading.dead_letters} events of the last day could not be told{why}")
        return Seen(DEGRADED if wrong else OK, "; ".join(wrong) or None, *how_far)

    return probe


def _wrong(webhook: WebhookHealth) -> str | None:
    if webhook.stopped_since is not None:
        return f"{webhook.name}: stopped, the receiver answered 410"
    if webhook.failing_since is not None:
        return f"{webhook.name}: {webhook.last_error}"
    return None


def fastagi(factory: FastAGIFactory) -> Probe:
    """The calls inside a script just now."""

    def probe() -> Seen:
        inside, most = len(factory.sessions), factory.settings.most_sessions
        if inside >= most:
            return Seen(FAILING, f"{inside} calls wait for a decision; more go to the fallback")
        return Seen(OK, None, inside)

    return probe


def _size(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
