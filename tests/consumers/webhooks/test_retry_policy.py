"""Tests of what becomes of a delivery after an attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.consumers.webhooks.retry_policy import (
    LONGEST_RETRY_AFTER,
    Attempt,
    Backoff,
    DeliveryStatus,
    RetryDecision,
    asked_pause,
    judge,
)

#: 2026-11-23T08:00:00Z
NOW = 1795420800000
DAY = 24 * 3600 * 1000
SLOW = Backoff(1.0, 600.0, lambda: 1.0)
QUICK = Backoff(1.0, 600.0, lambda: 0.0)


class Pauses(SynchronousTestCase):
    """How long is waited."""

    def test_doubles(self) -> None:
        """The pause doubles up to its limit."""
        pauses = [SLOW.pause(attempts) for attempts in range(1, 13)]
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600])

    def test_jitter(self) -> None:
        """Chance takes up to a half of it."""
        self.assertEqual([QUICK.pause(1), QUICK.pause(3), QUICK.pause(99)], [0.5, 2.0, 300.0])

    def test_many(self) -> None:
        """What is spent on a receiver that is away has a bound: ten attempts a second."""
        self.assertEqual(SLOW.pause(1, ordering_keys=5), 1.0)
        self.assertEqual(SLOW.pause(1, ordering_keys=100), 10.0)
        self.assertEqual(SLOW.pause(12, ordering_keys=100), 600.0)
        self.assertEqual(SLOW.pause(12, ordering_keys=100_000), 10_000.0)
        verdict = judge(Attempt(500), 1, NOW, NOW, SLOW, ordering_keys=100)
        self.assertEqual(verdict.next_ms, NOW + 10_000)

    @given(st.integers(1, 100_000), st.floats(0, 1))
    def test_bounds(self, attempts: int, chance: float) -> None:
        """However many attempts there were, the pause is between a half and the whole of both."""
        pause = Backoff(2.0, 60.0, lambda: chance).pause(attempts)
        self.assertTrue(1.0 <= pause <= 60.0, pause)


class Verdicts(SynchronousTestCase):
    """What an answer means."""

    def verdict(self, attempt: Attempt, told: int = NOW, attempts: int = 1) -> RetryDecision:
        """Judge it now."""
        return judge(attempt, attempts, told, NOW, SLOW)

    def test_statuses(self) -> None:
        """2xx is a delivery, 410 an end, everything else and silence are tried again."""
        for status, becomes in {
            200: DeliveryStatus.DELIVERED,
            204: DeliveryStatus.DELIVERED,
            299: DeliveryStatus.DELIVERED,
            410: DeliveryStatus.STOPPED,
            100: DeliveryStatus.WAITING,
            301: DeliveryStatus.WAITING,
            308: DeliveryStatus.WAITING,
            400: DeliveryStatus.WAITING,
            404: DeliveryStatus.WAITING,
            429: DeliveryStatus.WAITING,
            500: DeliveryStatus.WAITING,
            None: DeliveryStatus.WAITING,
        }.items():
            with self.subTest(status=status):
                self.assertIs(self.verdict(Attempt(status)).status, becomes)

    def test_next(self) -> None:
        """What waits is tried again after its pause."""
        self.assertEqual(self.verdict(Attempt(500), attempts=4).next_ms, NOW + 8000)

    def test_a_day(self) -> None:
        """The last attempt is a day after it was told, and then it is given up."""
        almost = self.verdict(Attempt(500), NOW - DAY + 3000, attempts=20)
        self.assertEqual(almost, RetryDecision(DeliveryStatus.WAITING, NOW + 3000))
        self.assertEqual(
            self.verdict(Attempt(500), NOW - DAY, attempts=21), RetryDecision(DeliveryStatus.FAILED)
        )
        self.assertIs(self.verdict(Attempt(200), NOW - 2 * DAY).status, DeliveryStatus.DELIVERED)

    def test_retry_after(self) -> None:
        """Retry-After puts it off, and never brings it forward."""
        self.assertEqual(self.verdict(Attempt(503, None, "30")).next_ms, NOW + 30_000)
        self.assertEqual(self.verdict(Attempt(429, None, "0"), attempts=5).next_ms, NOW + 16_000)

    def test_retry_after_is_bounded(self) -> None:
        """Neither a century nor the end of the day of retries is gone beyond."""
        self.assertEqual(self.verdict(Attempt(503, None, "9" * 12)).next_ms, NOW + 3_600_000)
        late = self.verdict(Attempt(503, None, "600"), NOW - DAY + 5000)
        self.assertEqual(late.next_ms, NOW + 5000)

    def test_dates(self) -> None:
        """Retry-After can be a date."""
        self.assertEqual(asked_pause("Mon, 23 Nov 2026 08:00:42 GMT", NOW), 42.0)
        self.assertEqual(asked_pause("Mon, 23 Nov 2026 08:00:42 -0000", NOW), 42.0)
        self.assertEqual(asked_pause("Mon, 23 Nov 2026 07:00:00 GMT", NOW), 0.0)
        self.assertEqual(asked_pause("Sun, 23 Nov 2036 07:00:00 GMT", NOW), LONGEST_RETRY_AFTER)

    @given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4,5} \d\d:.*"))
    def test_nonsense(self, text: str) -> None:
        """Whatever stands there, it is a pause within reason."""
        self.assertTrue(0 <= asked_pause(text, NOW) <= LONGEST_RETRY_AFTER)
