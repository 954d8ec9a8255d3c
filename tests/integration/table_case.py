"""A table of calls, outbound or inbound: each row a test, all their calls made at once before.

Knows what tests of both directions share; how calls are made and judged their modules know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from tests import depth
from tests.integration.harness import LiveTestCase
from tests.integration.verdict import FORWARD_TARGET


class TableCase(LiveTestCase):
    """A test for each row of ``rows``, on ``copies`` calls at once, that ``rounds`` times."""

    rows: ClassVar[Mapping[str, Any]] = {}
    rounds: ClassVar[int] = 1
    copies: ClassVar[int] = 1
    timeout = 300
    #: Seconds of a test: the calls of all rows last as long as the longest of them.
    lasts = 0.5 * depth.rounds(10)

    _calls: ClassVar[dict[type, dict[str, list[Any]] | BaseException]] = {}

    def __init_subclass__(cls) -> None:
        """Give each row a test of its name."""
        for name, row in cls.rows.items():
            setattr(cls, f"test_{name}", _test_of(name, row))

    async def make_calls(self) -> dict[str, list[Any]]:
        """Make the calls of every row, by the rows' names."""
        raise NotImplementedError

    def complaints(self, call: Any) -> Iterable[str]:
        """What is wrong with a call."""
        raise NotImplementedError

    async def calls(self) -> dict[str, list[Any]]:
        """All calls by row; made once, whatever comes of it."""
        kind = type(self)
        if kind not in self._calls:
            try:
                self._calls[kind] = await self.make_calls()
            except Exception as error:
                self._calls[kind] = error
        calls = self._calls[kind]
        if isinstance(calls, BaseException):
            raise calls
        return calls

    async def each_call(self) -> list[Any]:
        """All calls, whatever their row."""
        return [call for calls in (await self.calls()).values() for call in calls]


def _test_of(name: str, row: Any) -> Callable[[TableCase], Awaitable[None]]:
    async def test(self: TableCase) -> None:
        calls = (await self.calls())[name]
        self.assertEqual(len(calls), self.rounds * self.copies)
        wrong = [f"call {call.call_id}: {said}" for call in calls for said in self.complaints(call)]
        self.assertEqual(wrong, [])

    test.__doc__ = f"{row.words}."
    test.__name__ = f"test_{name}"
    return test


class WholeTableCase(TableCase):
    """Every row of a direction, and what is so whatever the row."""

    async def told_otherwise(self, calls: Sequence[Any]) -> list[str]:
        """What the log of channel events tells otherwise."""
        raise NotImplementedError

    async def test_call_forwards_are_not_followed(self) -> None:
        """Nobody is called at the number that a phone forwards to."""
        await self.calls()
        for phones in (self.lab.operators, self.lab.clients):
            self.assertEqual(phones.invites(FORWARD_TARGET), 0)

    async def test_the_log_of_channel_events_tells_the_same(self) -> None:
        """Every chain comes out the same when it is derived from the CEL file alone."""
        self.assertEqual(await self.told_otherwise(await self.each_call()), [])
