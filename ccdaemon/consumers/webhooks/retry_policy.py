"""What becomes of a delivery after an attempt: delivered, tried again and when, or given up. Pure.

Times are in seconds but where a name ends in ``_ms``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

#: For how long a delivery is tried after it was told.
GIVE_UP_AFTER = 24 * 3600.0
#: The longest that a receiver's Retry-After is believed.
LONGEST_RETRY_AFTER = 3600.0
#: Attempts a second, about, that are spent on what has failed before.
RETRIES = 10.0
#: The answer by which a receiver says that it wants nothing any more, ever.
GONE = 410


class DeliveryStatus(str, Enum):
    """Where a delivery stands; the value is what ``webhookLog`` shows."""

    WAITING = "waiting"
    """It will be sent: soon, after a pause, or when those before it in its order are through."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """It was tried for a day, or its webhook is not configured any more."""
    STOPPED = "stopped"
    """The receiver has answered 410; nothing is sent to it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long is waited between attempts.

    ``first`` seconds after the first failure, twice as long after each, ``longest`` at most; of
    that a random part between a half and the whole, so that what failed together does not come
    back together.

    :param random: gives a number from 0 to 1.
    """

    first: float
    longest: float
    random: Callable[[], float]

    def pause(self, attempts: int, ordering_keys: int = 0) -> float:
        """Seconds until the next attempt after so many that failed.

        :param ordering keys: how many ordering keys wait for their next attempt: the more there are
            the longer it is, so that what is spent on a receiver that is away has a bound.
        """
        # Two to the power of more than this is longer than any limit.
        whole = min(self.first * 2.0 ** min(attempts - 1, 64), self.longest)
        return max(whole, ordering_keys / RETRIES) * (0.5 + 0.5 * self.random())


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one POST.

    :ivar http_status: None where no answer came.
    :ivar error: what went wrong, in words for an administrator; None if nothing did.
    :ivar retry_after: the receiver's header, as it came.
    """

    http_status: int | None
    error: str | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What is to be done; ``next_ms`` says when where the delivery goes on waiting."""

    status: DeliveryStatus
    next_ms: int | None = None


def judge(
    attempt: Attempt,
    attempts: int,
    told_ms: int,
    now_ms: int,
    backoff: Backoff,
    ordering_keys: int = 0,
) -> RetryDecision:
    """Say what becomes of a delivery.

    :param attempts: how many there have been, with this one.
    :param told_ms: since when it is tried.
    :param ordering keys: as :meth:`Backoff.pause` has it.
    """
    status = attempt.http_status
    if status is not None and 200 <= status < 300:
        return RetryDecision(DeliveryStatus.DELIVERED)
    if status == GONE:
        return RetryDecision(DeliveryStatus.STOPPED)
    end_ms = told_ms + int(GIVE_UP_AFTER * 1000)
    if now_ms >= end_ms:
        return RetryDecision(DeliveryStatus.FAILED)
    pause = backoff.pause(attempts, ordering_keys)
    if attempt.retry_after is not None:
        pause = max(pause, asked_pause(attempt.retry_after, now_ms))
    # The last attempt is at the end, whatever the pause is.
    return RetryDecision(DeliveryStatus.WAITING, min(now_ms + int(pause * 1000), end_ms))


def asked_pause(retry_after: str, now_ms: int) -> float:
    """Read a Retry-After, seconds or a date; 0 for what is neither, an hour at most."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        asked = float(text[:10])
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        # A date without a zone is UTC, as HTTP has it.
        date = date.replace(tzinfo=date.tzinfo or UTC)
        asked = (date - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()
    return min(max(asked, 0.0), LONGEST_RETRY_AFTER)
