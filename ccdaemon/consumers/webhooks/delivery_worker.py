"""One webhook's worker: sends what is due, some at once, and never two of one ordering key.

What is due stands in the file; in memory is only what is under way. Knows neither the journal nor
how a POST is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.clock_steps import ClockSteps
from ccdaemon.consumers.webhooks.deliveries import Due
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile
from ccdaemon.consumers.webhooks.retry_policy import (
    Attempt,
    Backoff,
    DeliveryStatus,
    RetryDecision,
    judge,
)
from ccdaemon.consumers.webhooks.signing import key_of, signed_headers
from ccdaemon.store.failures import JournalBroken

#: So many ordering keys have to have failed, with none that went through, for the receiver to be
#: called away: one that fails alone may fail for what it says.
AWAY = 2


@dataclass(slots=True)
class DeliveryCounts:
    """What has come of the attempts since the start; ``errors`` counts those that failed."""

    delivered: int = 0
    errors: int = 0
    given_up: int = 0


class ReceiverHealth:
    """What is known of a receiver.

    :ivar counts: since the start.
    :ivar failing_since: when attempts began to fail with none that succeeded; None: they do not.
    :ivar stopped_since: when the receiver answered 410; None: it has not.
    :ivar last_error: what went wrong last; None if nothing has.
    :ivar is_back: it was away and has taken something since; whoever acts upon that resets it.
    :ivar was_away: it had failed for several ordering keys before the daemon started.
    """

    _log = Logger()

    def __init__(self, name: str) -> None:
        self.counts = DeliveryCounts()
        self.failing_since: int | None = None
        self.stopped_since: int | None = None
        self.last_error: str | None = None
        self.is_back = self.was_away = False
        self._name = name
        self._failed_keys: set[str] = set()

    def delivered(self) -> None:
        """Note a delivery."""
        self.counts.delivered += 1
        self.failing_since = None
        if self.was_away or len(self._failed_keys) >= AWAY:
            self.is_back = True
            self._log.info("webhook {name} is back", name=self._name)
        self.was_away = False
        self._failed_keys.clear()

    def failed(
        self, webhook_id: str, ordering_key: str, attempt: Attempt, verdict: RetryDecision, now: int
    ) -> None:
        """Note that an attempt has failed."""
        self.counts.errors += 1
        self.last_error = attempt.error
        if self.failing_since is None:
            self.failing_since = now
        # No more are remembered than are needed: there may be thousands.
        if len(self._failed_keys) < AWAY:
            self._failed_keys.add(ordering_key)
            if len(self._failed_keys) == AWAY:
                self._say("fails, and goes on being tried: {error}", error=attempt.error)
        if verdict.status is DeliveryStatus.FAILED:
            self.counts.given_up += 1
            self._say("{id} is given up: {error}", id=webhook_id, error=attempt.error)
        elif verdict.status is DeliveryStatus.STOPPED:
            self.stopped_since = now
            self._say("answered 410: nothing is sent any more until the daemon starts anew")

    def _say(self, what: str, **fields: object) -> None:
        self._log.error("webhook {name} " + what, name=self._name, **fields)


#: How an announcement is spelled: from its tree and the webhook's format.
Spell = Callable[[Mapping[str, object], str], bytes]

CONTENT_TYPE: Mapping[str, str] = {
    "json": "application/json",
    "xml": "application/xml; charset=utf-8",
}
#: Seconds that POSTs under way may go on when the daemon stops.
GRACE = 3.0
#: Seconds after which the file is asked again where it could not be read.
AGAIN = 2.0
#: The longest that is slept without a look, in seconds.
LONGEST_SLEEP = 60.0
#: Seconds between two times that all that waits is tried because the receiver is back.
HASTEN_EVERY = 60.0


class Sends(Protocol):
    """What makes the POSTs."""

    async def post(self, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send once; whatever goes wrong is in the result."""
        ...

    def close(self) -> Deferred[None]:
        """Close the connections that are kept."""
        ...


@dataclass(slots=True)
class _UnderWay:
    """A ordering key whose turn it is: which of its deliveries, and what fires at the end."""

    delivery_id: int
    ended: Deferred[None] | None = None


class DeliveryWorker:
    """Sends one webhook's deliveries.

    :ivar receiver: how its receiver does.
    :ivar ordering keys: how many ordering keys wait, as of a moment ago; to be told by who counts
        them.
    :ivar observe: told of each attempt how many seconds it took, whatever came of it.
    """

    _log = Logger()

    def __init__(
        self,
        webhook: Webhook,
        sends: Sends,
        file: DeliveryFile,
        clock: IReactorTime,
        due_times: ClockSteps,
        spell: Spell,
        random: Callable[[], float],
    ) -> None:
        self.webhook = webhook
        self.receiver = ReceiverHealth(webhook.name)
        self.ordering_keys = 0
        self.observe: Callable[[float], None] = lambda _: None
        self._sends = sends
        self._file = file
        self._clock = clock
        self._due_times = due_times
        self._spell = spell
        self._keys = [key_of(secret) for secret in webhook.secret]
        self._backoff = Backoff(webhook.retry_first, webhook.retry_longest, random)
        self._running = self._recalled = False
        self._under_way: dict[str, _UnderWay] = {}
        self._looking: Deferred[None] | None = None
        self._look_again = False
        self._more = False
        self._ended_meanwhile: set[str] = set()
        self._timer: IDelayedCall | None = None
        self._awake_by = 0.0
        self._hastened = -HASTEN_EVERY
        self._idle: Deferred[None] | None = None

    # Life

    def start(self) -> None:
        """Begin to send what is due."""
        self._running = True
        self.wake()

    async def stop(self) -> None:
        """Send no more; what is under way has ``GRACE`` seconds, a file that takes nothing too."""
        self._running = False
        self._cancel_timer()
        grace = self._clock.callLater(GRACE, self._break_off)
        if self._looking is not None:
            await self._looking
        if self._under_way:
            self._idle = Deferred()
            await self._idle
        if grace.active():
            grace.cancel()
        await self._sends.close()

    def _break_off(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        for one in list(self._under_way.values()):
            if one.ended is not None:
                one.ended.cancel()

    def wake(self) -> None:
        """Look for what is due: something may be."""
        if not self._may_send:
            return
        if self._looking is not None:
            self._look_again = True
            return
        looking = Deferred.fromCoroutine(self._look())
        if not looking.called:
            self._looking = looking

    def resume(self) -> None:
        """Go on although the receiver had said that it wants nothing."""
        self.receiver.stopped_since = None
        self.wake()

    @property
    def _may_send(self) -> bool:
        return self._running and self.receiver.stopped_since is None

    # Looking

    async def _look(self) -> None:
        self._look_again = self._more = False
        self._ended_meanwhile.clear()
        self._wake_in(AGAIN)
        try:
            await self._start_what_is_due()
        except (CancelledError, JournalBroken):
            pass  # The daemon is stopping.
        except Exception:
            self._log.failure("webhook {name}: deliveries cannot be read", name=self.webhook.name)
        finally:
            self._looking = None
        if self._look_again:
            self.wake()

    async def _start_what_is_due(self) -> None:
        await self._due_times.right()
        if not self._recalled:
            failed = await self._file.read(deliveries.failing, self.webhook.name, AWAY)
            self.receiver.was_away = failed >= AWAY
            self._recalled = True
        await self._hasten()
        now = self._now()
        # Those under way are still in the table, and due.
        limit = self.webhook.parallel + len(self._under_way)
        found, later = await self._file.read(deliveries.due, self.webhook.name, now, limit)
        self._cancel_timer()
        self._wake_in(LONGEST_SLEEP if later is None else (later - self._now()) / 1000)
        if self.receiver.is_back:
            self._wake_in(HASTEN_EVERY - abs(self._clock.seconds() - self._hastened))
        self._more |= len(found) == limit
        for due in found:
            if self._may_send:
                self._start_in_turn(due)

    async def _hasten(self) -> None:
        """Have what waits sent now where the receiver is back; not over and over.

        Calls that it does not take for what they say make it look away, each time they are tried.
        """
        seconds = self._clock.seconds()
        if self.receiver.is_back and seconds - self._hastened >= HASTEN_EVERY:
            self.receiver.is_back = False
            self._hastened = seconds
            await self._file.write(deliveries.hasten, self.webhook.name, self._now())

    def _start_in_turn(self, due: Due) -> None:
        under_way = self._under_way.get(due.ordering_key)
        if under_way is not None:
            # It is the one under way, or was taken in after that: then its turn comes.
            self._more |= under_way.delivery_id != due.delivery_id
        elif due.ordering_key in self._ended_meanwhile:
            # What ended while the file was read may stand in the answer as it was before.
            self._look_again = True
        elif self._is_full:
            self._more = True
        else:
            self._start(due)

    @property
    def _is_full(self) -> bool:
        return len(self._under_way) >= self.webhook.parallel

    def _start(self, due: Due) -> None:
        under_way = _UnderWay(due.delivery_id)
        self._under_way[due.ordering_key] = under_way
        under_way.ended = Deferred.fromCoroutine(self._go_along(due, under_way))
        under_way.ended.addBoth(self._ended, due.ordering_key)

    def _ended(self, result: object, ordering_key: str) -> None:
        if isinstance(result, Failure) and self._running:
            self._log.failure("webhook {name}", result, name=self.webhook.name)
            # Not at once again: what nobody foresaw would happen over and over.
            self._clock.callLater(AGAIN, self._free, ordering_key)
            self._more = True
        else:
            self._free(ordering_key)

    def _free(self, ordering_key: str) -> None:
        del self._under_way[ordering_key]
        self._ended_meanwhile.add(ordering_key)
        if self._idle is not None and not self._under_way:
            self._idle.callback(None)
        if self._more or self._looking is not None:
            self.wake()

    def _wake_in(self, seconds: float) -> None:
        """Look again by then at the latest."""
        if not self._running:
            return
        seconds = min(max(seconds, 0.001), LONGEST_SLEEP)
        by = self._clock.seconds() + seconds
        if self._timer is not None and self._timer.active() and self._awake_by <= by:
            return
        self._cancel_timer()
        self._awake_by = by
        self._timer = self._clock.callLater(seconds, self.wake)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _now(self) -> int:
        return self._due_times.now()

    # One delivery

    async def _go_along(self, due: Due, under_way: _UnderWay) -> None:
        """Deliver, and what follows under its ordering key, while nobody else waits to be sent."""
        # What is broken off when the daemon stops is sent again at the next start.
        with suppress(CancelledError, JournalBroken):
            following: Due | None = due
            while following is not None:
                under_way.delivery_id = following.delivery_id
                following = await self._deliver(following)
                if self._more and self._is_full:
                    return

    async def _deliver(self, due: Due) -> Due | None:
        """Try one; what comes after it in its ordering key, if that may be sent now."""
        moved, began = self._due_times.moved, self._clock.seconds()
        attempt = await self._post(due)
        self.observe(self._clock.seconds() - began)
        now = self._now()
        since = due.since + self._due_times.moved - moved
        verdict = judge(attempt, due.attempts + 1, since, now, self._backoff, self.ordering_keys)
        following = await self._file.write(
            deliveries.settle, due.delivery_id, attempt, verdict, now
        )
        if verdict.status is DeliveryStatus.DELIVERED:
            self.receiver.delivered()
            if self.receiver.is_back:
                self.wake()
        else:
            self.receiver.failed(due.webhook_id, due.ordering_key, attempt, verdict, now)
        if verdict.next_ms is not None:
            self._wake_in((verdict.next_ms - self._now()) / 1000)
        return following if self._may_send else None

    async def _post(self, due: Due) -> Attempt:
        try:
            body = due.body
            if self.webhook.format != "json":
                body = self._spell(msgspec.json.decode(body), self.webhook.format)
            timestamp = self._now() // 1000
            headers = signed_headers(self._keys, due.webhook_id, timestamp, body)
            kind = {"Content-Type": CONTENT_TYPE[self.webhook.format]}
            return await self._sends.post({**kind, **headers}, body)
        except CancelledError:
            raise
        except Exception as error:
            # Whatever it is: this one waits its time, and is not tried over and over at once.
            self._log.failure(
                "webhook {name}: {id} cannot be sent", name=self.webhook.name, id=due.webhook_id
            )
            return Attempt(None, f"{type(error).__name__}: {error}")
