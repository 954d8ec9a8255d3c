"""How one webhook's receiver does: what has come of the attempts, and since when it is so.

Logs a line where that changes. Pure but for the log; moments are ms since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.logger import Logger

from ccdaemon.consumers.webhooks.retry_policy import Attempt, DeliveryStatus, RetryDecision

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
