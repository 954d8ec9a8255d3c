"""A few finished calls that the tests of one class ask about.

Knows how the calls are made and that they are over; what is said of them the tests know.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

#: Operator, client, order and key of each call, and the chain it has to have. ``answers``: talks
#: for a second; the other names are final states.
PLOT: dict[str, tuple[str, str, str]] = {
    "talk": ("1040", "380630000034", "one"),
    "client_busy": ("1041", "380630000005", "one"),
    "operator_busy": ("1005", "380630000099", "one"),
    "second_talk": ("1042", "380630000134", "one"),
    "other_talk": ("1043", "380630000234", "two"),
}
OFFLINE = ("1090", "380630000098", "one")
TALK = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"]
CHAINS = {
    "talk": TALK,
    "client_busy": [*TALK[:4], "CLIENT_BUSY"],
    "operator_busy": [*TALK[:2], "OPERATOR_BUSY"],
    "second_talk": TALK,
    "other_talk": TALK,
    "operator_offline": ["CALL", "OPERATOR_OFFLINE"],
}
STATES = sum(len(chain) for chain in CHAINS.values())


@dataclass
class Story:
    """The calls by their names in ``PLOT``, and ``operator_offline``; orders by their names."""

    orders: dict[str, str] = field(
        default_factory=lambda: {name: secrets.token_hex(20) for name in ("one", "two")}
    )
    keys: dict[str, str] = field(
        default_factory=lambda: {name: str(secrets.randbelow(10**30)) for name in CHAINS}
    )
    calls: dict[str, int] = field(default_factory=dict)


class StoryTestCase(LiveTestCase):
    """A class of tests that begins with the calls of ``PLOT``, made once, at once, and over."""

    tables: ClassVar[Any] = {"asterisk": {"operator_timeout": 5, "client_timeout": 4}}
    _stories: ClassVar[dict[type, Story]] = {}

    async def story(self) -> Story:
        """The class's story, made with the first test that asks."""
        kind = type(self)
        if kind not in self._stories:
            self._stories[kind] = await self._tell()
        return self._stories[kind]

    async def _tell(self) -> Story:
        story = Story()
        for name, (sip, phone, order) in PLOT.items():
            story.calls[name] = await self.make_call(
                sip, phone, order_id=story.orders[order], external_key=story.keys[name]
            )
        sip, phone, order = OFFLINE
        refused = await self.api(
            "makeCall",
            sip=sip,
            phone=phone,
            order_id=story.orders[order],
            external_key=story.keys["operator_offline"],
        )
        story.calls["operator_offline"] = refused["error"]["call_id"]
        chains = await together(self.finished(call_id) for call_id in story.calls.values())
        for name, states in zip(story.calls, chains, strict=True):
            self.assertEqual([state["state"] for state in states], CHAINS[name], name)
        await self.wait_for(self._recorded, 10, "three recordings")
        await self.wait_for(self._idle, 10, "nobody on the phone")
        return story

    async def _recorded(self) -> bool:
        return bool((await self.ask("recordList"))["total"] == 3)

    async def _idle(self) -> bool:
        return bool((await self.ask("sipList", status="inuse"))["total"] == 0)
