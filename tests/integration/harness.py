"""What live tests share: the lab, a daemon in it, the HTTP API as a CRM asks it.

Knows how to start and ask; does not know what the answers should be. The lab is started with the
first test that needs it and serves the whole run.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar, overload
from urllib.parse import urlencode

import treq
from lxml import etree
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IResponse

from lab import Unavailable
from lab.daemon import Daemon, Table
from lab.debian import Suite
from lab.sip_files import Flavour
from lab.stack import Lab
from tests.integration.told_again import Again

T = TypeVar("T")
C = TypeVar("C", bound="LiveTestCase")

_POLL = 0.05
#: Seconds until Asterisk has written down the end of a call that is over.
WRITTEN = 5.0
#: Looks that are taken after the time is over.
_LATE = 10
_HTTP_TIMEOUT = 70.0
_labs: dict[tuple[Suite | None, Flavour], Lab | Unavailable] = {}
_numbers = itertools.count(1)


def lab(suite: Suite | None = None, flavour: Flavour = "pjsip") -> Lab:
    """The run's lab of this kind, started if need be.

    :raises Unavailable: it cannot be had here; it is not tried twice.
    """
    kind = (suite, flavour)
    if kind not in _labs:
        try:
            made = Lab(suite=suite, flavour=flavour, progress=_say)
            atexit.register(made.close)
            made.start()
            _labs[kind] = made
        except Unavailable as error:
            _labs[kind] = error
    found = _labs[kind]
    if isinstance(found, Unavailable):
        raise found
    return found


def on_16(*, nightly: bool = False, **changes: object) -> Callable[[type[C]], type[C]]:
    """Have a class on Asterisk 16 with chan_sip, too, with ``On16`` at the end of its name.

    :param nightly: only at night: by day the one on 22 will do.
    :param changes: what that class has otherwise.
    """

    def both(cls: type[C]) -> type[C]:
        name = f"{cls.__name__}On16"
        kind: dict[str, object] = {"suite": "bullseye", "flavour": "chan_sip", "nightly": nightly}
        named = {"__module__": cls.__module__, "__doc__": f"{cls.__doc__} On Asterisk 16."}
        setattr(sys.modules[cls.__module__], name, type(name, (cls,), kind | named | changes))
        return cls

    return both


def end_labs() -> None:
    """What runs next has a new one, since something has broken this one."""
    _Shared.end()
    for found in _labs.values():
        if isinstance(found, Lab):
            found.close()
    _labs.clear()


def _say(line: str) -> None:
    print(line, file=sys.__stderr__, flush=True)


class _Shared:
    """The daemon that the tests of one class share, and of those after it with the same group.

    ``tables``: how it was configured when it was made; one that a class has left otherwise is not
    for the next.
    """

    owner: type | None = None
    group: str = ""
    daemon: Daemon | None = None
    tables: str = ""

    @classmethod
    def of(cls, owner: type[LiveTestCase], make: Callable[[], Daemon]) -> Daemon:
        group = owner.daemon_group()
        if cls.owner is not owner and (cls.group != group or cls._has_changed()):
            cls.end()
        if cls.daemon is None:
            cls.daemon = make()
            cls.tables = repr(cls.daemon.tables)
        cls.owner, cls.group = owner, group
        return cls.daemon

    @classmethod
    def _has_changed(cls) -> bool:
        return cls.daemon is not None and repr(cls.daemon.tables) != cls.tables

    @classmethod
    def end(cls) -> None:
        if cls.daemon is not None:
            cls.daemon.stop()
        cls.owner = cls.daemon = None
        cls.group = cls.tables = ""


atexit.register(_Shared.end)


class LiveTestCase(TestCase):
    """A test with a lab and a daemon of its own, or one for the class (``shared``).

    ``with_others``: also one that another class has used, if it is configured alike.
    ``tables`` is laid over the daemon's configuration: ``{"asterisk": {"client_timeout": 5}}``.
    ``starts_daemon`` False: the test starts ``self.daemon`` itself. ``dialplan`` is laid over the
    administrator's globals in Asterisk's dialplan. ``tells_again``: afterwards each call that is
    over is derived from Asterisk's log, and has to be the same.
    """

    suite: ClassVar[Suite | None] = None
    flavour: ClassVar[Flavour] = "pjsip"
    tables: ClassVar[Mapping[str, Table]] = {}
    shared: ClassVar[bool] = True
    with_others: ClassVar[bool] = False
    starts_daemon: ClassVar[bool] = True
    tells_again: ClassVar[bool] = True
    dialplan: ClassVar[Mapping[str, str]] = {}
    timeout = 120

    lab: Lab
    daemon: Daemon

    def setUp(self) -> None:
        """Have the lab and the daemon run; skip where the lab cannot be had, but fail in CI."""
        try:
            self.lab = lab(self.suite, self.flavour)
        except Unavailable as error:
            if os.environ.get("CI") == "true":
                self.fail(f"CI=true, and the lab cannot be had: {error}")
            raise SkipTest(f"the lab cannot be had here: {error}") from error
        again = Again(self.lab.asterisk)
        self.addCleanup(lambda: ensureDeferred(self._told_again(again)))
        self.addCleanup(self._hang_up_all)
        if not self.shared:
            self.daemon = self.new_daemon()
            self.addCleanup(self.daemon.stop)
        else:
            self.daemon = _Shared.of(type(self), self.new_daemon)
        self.set_globals()
        if self.starts_daemon and self.daemon.pid is None:
            self.daemon.start()

    @classmethod
    def daemon_group(cls) -> str:
        """The same for classes whose tests may share a daemon."""
        if not (cls.shared and cls.with_others):
            return f"{cls.__module__}.{cls.__qualname__}"
        return f"{cls.suite} {cls.flavour} {cls.new_daemon.__qualname__} {cls.tables!r}"

    def run(self, result: Any = None) -> Any:
        """Run, and print the daemon's log if the test failed."""
        super().run(result)
        if hasattr(self, "daemon") and not self._passed:
            print(f"\n--- {self.id()}: the end of {self.daemon.log}\n{self.daemon.tail(80)}\n---")

    def new_daemon(self, **tables: Table) -> Daemon:
        """A daemon with a folder and a database of its own, not started.

        The folder goes with the lab.
        """
        name = f"test_{next(_numbers)}_{secrets.token_hex(3)}"
        folder = self.lab.ledger.path.parent.parent / "daemons" / name
        self.lab.ledger.made(folder)
        merged: dict[str, Any] = {
            "asterisk": self.lab.asterisk_settings(),
            "database": {"url": self.lab.postgres.create_database(name)},
        }
        for extra in (self.tables, tables):
            for key, table in extra.items():
                plain = isinstance(table, Mapping)
                merged[key] = {**merged.get(key, {}), **table} if plain else table
        return Daemon(folder, merged, self.lab.ledger)

    async def request(
        self, path: str, method: str = "GET", **options: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Any request: status, headers with names in lower case, body."""
        url = f"{self.daemon.url}{path}"
        options.setdefault("timeout", _HTTP_TIMEOUT)
        answer: IResponse = await _client().request(method, url, unbuffered=False, **options)
        body = await treq.content(answer)
        headers = {
            name.decode("ascii").lower(): values[-1].decode("latin-1")
            for name, values in answer.headers.getAllRawHeaders()
        }
        return answer.code, headers, body

    async def api(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask as a CRM does, by GET for JSON; the whole envelope, whatever its status."""
        status, _, body = await self.request(_path(method, "json", parameters))
        envelope: dict[str, Any] = json.loads(body)
        self.assertEqual(envelope["status_code"], status)
        return envelope

    async def api_xml(self, method: str, **parameters: object) -> etree._Element:
        """The same for XML; the root element."""
        status, _, body = await self.request(_path(method, "xml", parameters))
        root = etree.fromstring(body)
        self.assertEqual(root.findtext("status_code"), str(status))
        return root

    async def ask(self, method: str, **parameters: object) -> Any:
        """What is in the envelope of an answer that has to be a good one."""
        envelope = await self.api(method, **parameters)
        self.assertEqual(envelope["status"], "ok", envelope)
        return envelope["response"]

    async def make_call(self, sip: str, phone: str, **parameters: object) -> int:
        """Make a call with an order and a key of its own, if none is given; its call_id."""
        number = secrets.randbelow(10**15)
        named = {"order_id": f"order-{number}", "external_key": f"{number}", **parameters}
        response = await self.ask("makeCall", sip=sip, phone=phone, **named)
        call_id: int = response["call_id"]
        return call_id

    async def states(self, call_id: int) -> list[dict[str, Any]]:
        """The states of a call as callHistory has them."""
        response = await self.ask("callHistory", call_id=call_id)
        states: list[dict[str, Any]] = response[0]["states"]
        return states

    async def chain(self, call_id: int) -> list[str]:
        """The names of the states so far."""
        return [state["state"] for state in await self.states(call_id)]

    async def finished(self, call_id: int, timeout: float = 20.0) -> list[dict[str, Any]]:
        """Wait for the final state; all states."""

        async def final() -> list[dict[str, Any]]:
            states = await self.states(call_id)
            return states if states[-1]["final"] else []

        return await self.wait_for(final, timeout, f"the final state of call {call_id}")

    @overload
    async def wait_for(
        self, predicate: Callable[[], Coroutine[Any, Any, T]], timeout: float, what: str
    ) -> T: ...

    @overload
    async def wait_for(self, predicate: Callable[[], T], timeout: float, what: str) -> T: ...

    async def wait_for(self, predicate: Callable[[], Any], timeout: float, what: str) -> Any:
        """Ask every 50 ms until the answer is a true one, and return it.

        :raises AssertionError: not so within ``timeout`` seconds; with the last answer.
        """
        end, late = time.monotonic() + timeout, 0
        while True:
            answer = predicate()
            value = await answer if isawaitable(answer) else answer
            if value:
                return value
            # Where the machine stood still, what has come meanwhile is to be read first.
            late += time.monotonic() > end
            if late > _LATE:
                self.fail(f"{what}: not within {timeout:g} s; last seen: {value!r}")
            await self.sleep(_POLL)

    def sleep(self, seconds: float) -> Deferred[None]:
        """Let time pass."""
        return deferLater(reactor, seconds)

    def set_globals(self, **values: str) -> None:
        """Let the administrator's globals be the class's but for these; the daemon is asked."""
        common = {
            "CC_AGI": self.daemon.agi,
            "CC_REDIRECT_CONTEXT": "from-crm",
            "CC_HOLD": "600",
        }
        plain = dict.fromkeys(
            ("CC_FALLBACK", "CC_QUEUE_TIMEOUT", "CC_RECORDINGS", "CC_ANNOUNCEMENT", "CC_DIALOUT"),
            "",
        )
        given = {**plain, **common, **self.dialplan, **values}
        self.lab.asterisk.set_globals(**{name: self._dialled(each) for name, each in given.items()})

    def _dialled(self, value: str) -> str:
        """PJSIP is what the lab's Asterisk dials by, whatever that is."""
        return value.replace("PJSIP/", self.lab.asterisk.operator_channel.replace("{sip}", ""))

    def unregister(self, *operators: str) -> None:
        """Take operators' phones away for this test."""
        self.lab.unregister(operators)
        self.addCleanup(self.lab.register, operators)

    async def _told_again(self, again: Again) -> None:
        """See that the log tells every call as the daemon did; the end of one may be late."""
        if not (self._passed and self.tells_again and hasattr(self, "daemon") and again.is_whole):
            return
        said: list[str] = []

        def is_same() -> bool:
            trunks = self.daemon.tables.get("observe", {}).get("trunks", ())
            said[:] = again.otherwise(self.daemon.state_dir, trunks)
            return not said

        try:
            await self.wait_for(is_same, WRITTEN, "the log tells the same")
        except AssertionError as error:
            raise AssertionError(f"{error}: {said}") from None

    def _hang_up_all(self) -> None:
        """Leave no call to the next test."""
        asterisk = self.lab.asterisk
        if asterisk.pid is None:
            asterisk.start()
        elif asterisk.channels():
            asterisk.rx("channel request hangup all")


def _path(method: str, form: str, parameters: Mapping[str, object]) -> str:
    query = urlencode({name: str(value) for name, value in parameters.items()})
    return f"/api/{method}.{form}" + (f"?{query}" if query else "")


def _client() -> HTTPClient:
    """Without connections that stay: a test leaves nothing in the reactor."""
    return HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
