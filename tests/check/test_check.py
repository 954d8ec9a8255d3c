"""Tests of ``ccdaemon check``, but for what needs Asterisk or Postgres (tests/integration)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import fail as fail_with
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

import ccdaemon
from ccdaemon.ami.ami_errors import ActionRefused
from ccdaemon.check import show
from ccdaemon.check.asterisk import (
    NEEDED,
    channel_log,
    events,
    operators,
    rights,
    system_name,
    trunk,
    try_asterisk,
)
from ccdaemon.check.database import try_database
from ccdaemon.check.findings import Finding, Level, fail, ok, warn
from ccdaemon.check.http import try_clients, try_http
from ccdaemon.check.local import try_files
from ccdaemon.check.unit import lets_write, unit_that_shuts
from ccdaemon.config import Asterisk, Client, Config, Database, Http, LimitSettings
from ccdaemon.config.retention import RetentionSettings
from ccdaemon.config.routing import RoutingSettings
from ccdaemon.config.validators import network
from ccdaemon.pbx.cel_signals import COLUMNS
from tests.fake_asterisk import FakeAsterisk, response

ROOT = Path(ccdaemon.__file__).parent.parent
NOWHERE = Path("/nowhere")
MANAGER = ROOT / "conf/asterisk/manager_ccdaemon.conf"
CEL = ROOT / "conf/asterisk/cel_ccdaemon.conf"
FORGETS = Client(name="crm", networks=(network("127.0.0.0/8"),), permissions={"forget"})


def cel_row(time: str) -> str:
    """A row of the file in our columns."""
    return ",".join(['"CHAN_START"', f'"{time}"', *['""'] * (len(COLUMNS) - 2)]) + "\n"


class SystemNameTests(SynchronousTestCase):
    """What is said about the name with which Asterisk begins its uniqueids."""

    def test_every_kind(self) -> None:
        """None, a plain one, one that recordings are not called by, and those that are no good."""
        for name, level, words in (
            ("", Level.OK, "has none"),
            ("pbx-1", Level.OK, "pbx-1, as every uniqueid begins"),
            ("my pbx", Level.WARN, "theirs are called mypbx-…"),
            ("АТС", Level.WARN, "theirs are called -…"),
            ("\ufffd\ufffd", Level.FAIL, "is not UTF-8"),
            (".pbx", Level.FAIL, "begins with a dot or is too long"),
            ("x" * 150, Level.FAIL, "begins with a dot or is too long"),
        ):
            session: Any = FakeAsterisk()
            session.variables[None, "SYSTEMNAME"] = name
            looking = Deferred.fromCoroutine(system_name(session, self.config))
            found = self.successResultOf(looking)
            self.assertEqual((found.part, found.level), ("systemname", level), name)
            self.assertIn(words, found.what)

    config = Asterisk(secret="x", client_channel="SIP/{phone}")


class ClientChannelTests(SynchronousTestCase):
    """What is said of how clients are dialled."""

    def tried(self, channel: str) -> Finding:
        """Look; the dialplan has from-internal."""
        session: Any = FakeAsterisk()

        def contexts(name: str, headers: Any = None, **_: object) -> Deferred[Any]:
            if headers["Context"] == "from-internal":
                return succeed(())
            words = "Did not find context"
            return fail_with(ActionRefused(f"{words} {headers['Context']}", response()))

        self.patch(session, "sendList", contexts)
        settings = Asterisk(secret="x", client_channel=channel)
        return self.successResultOf(Deferred.fromCoroutine(trunk(session, settings)))

    def test_by_the_dialplan(self) -> None:
        """A Local channel needs its context, with and without /n."""
        for channel, level in (
            ("Local/{phone}@from-internal", Level.OK),
            ("Local/{phone}@from-internal/n", Level.OK),
            ("Local/{phone}@from-nowhere", Level.FAIL),
            ("PJSIP/{phone}@nobody", Level.FAIL),
            ("SIP/trunk/{phone}", Level.OK),
        ):
            self.assertIs(self.tried(channel).level, level, channel)


class OperatorChannelTests(SynchronousTestCase):
    """What is said of how operators are dialled."""

    def said(self, *channels: str, named: tuple[str, ...] = ()) -> dict[str, str]:
        """The level of each template; 1000 is registered, and has an extension in ops."""
        session: Any = FakeAsterisk()
        session.endpoints, session.extensions = {"1000"}, {"ops,1000,1"}
        session.devices = {"PJSIP/1000": "NOT_INUSE"}
        session.variables[None, "PJSIP_ENDPOINT(1000,outbound_auth)"] = ""
        config = Config(
            asterisk=Asterisk(secret="x", client_channel="SIP/{phone}", operator_channels=channels),
            database=Database(url="embedded"),
            routing=RoutingSettings(operators=tuple((sip,) for sip in named)),
        )
        found = self.successResultOf(Deferred.fromCoroutine(operators(session, config)))
        return {each.part.partition(" ")[2]: each.level.name for each in found}

    def test_each_template(self) -> None:
        """How many it finds; what cannot work is refused."""
        channels = ("PJSIP/{sip}", "PJSIP/{sip}-WS", "Local/{sip}@ops", "Local/{sip}@nowhere")
        levels = ("OK", "WARN", "OK", "FAIL")
        self.assertEqual(self.said(*channels), dict(zip(channels, levels, strict=True)))
        self.assertEqual(self.said("Local/{sip}@ops"), {"Local/{sip}@ops": "WARN"})
        self.assertEqual(self.said("PJSIP/{sip}@far"), {"PJSIP/{sip}@far": "OK"})


class RightsTests(SynchronousTestCase):
    """What the AMI user may do."""

    def test_queues(self) -> None:
        """Without the right to pause their members all works, but for that."""
        usual = dict.fromkeys([*NEEDED, "QueuePause"], "what it does")
        for lacking, level, words in (
            ((), Level.OK, "all that is needed"),
            (("QueuePause",), Level.WARN, "may not QueuePause (agent)"),
            (("QueuePause", "Originate"), Level.FAIL, "may not Originate"),
        ):
            commands = {name: text for name, text in usual.items() if name not in lacking}
            (found,) = rights(response(**commands))
            self.assertEqual(found.level, level, lacking)
            self.assertIn(words, found.what)


class EventTests(SynchronousTestCase):
    """What the AMI user hears, and what Asterisk writes down."""

    def found(self, look: Any, lines: Mapping[str, Sequence[str]]) -> Finding:
        """What is said of files of Asterisk's with these lines, by section and key."""
        session: Any = FakeAsterisk()
        for where, values in lines.items():
            for index, value in enumerate(values):
                session.variables[None, f"AST_CONFIG({where},{index})"] = value
        session.variables[None, "AST_CONFIG(manager.conf,ccdaemon,read)"] = "call"
        looking = Deferred.fromCoroutine(look(session, SystemNameTests.config))
        return cast(Finding, self.successResultOf(looking))

    def test_the_filter(self) -> None:
        """One that lets no bridges through is said; none at all, and one that does, are well."""
        key = "manager.conf,ccdaemon,eventfilter"
        ours = re.findall(r"^eventfilter = (.*)$", MANAGER.read_text("utf-8"), re.MULTILINE)
        for filters, verdict in (
            ([], Level.OK),
            (ours, Level.OK),
            (["Event: (Newchannel|Hangup)"], Level.WARN),
            (["!Event: BridgeEnter"], Level.WARN),
            ([one for one in ours if "QueueMember" not in one], Level.WARN),
            (["("], Level.OK),
        ):
            self.assertEqual(self.found(events, {key: filters}).level, verdict, filters)

    def test_the_channel_log(self) -> None:
        """An older cel_ccdaemon.conf lacks what is recorded."""
        key, apps = "cel.conf,general,events", "cel.conf,general,apps"
        ours = re.findall(r"^events = (.*)$", CEL.read_text("utf-8"), re.MULTILINE)
        self.assertEqual(self.found(channel_log, {key: ours, apps: ["mixmonitor"]}).level, Level.OK)
        self.assertEqual(self.found(channel_log, {key: ["ALL"], apps: ["all"]}).level, Level.OK)
        for lines in ({}, {key: ours[:1]}, {key: ours}):
            self.assertEqual(self.found(channel_log, lines).level, Level.WARN, lines)


class FileTests(SynchronousTestCase):
    """What is said about files and folders."""

    def setUp(self) -> None:
        """A configuration whose folders are all there."""
        self.base = Path(self.mktemp()).absolute()
        self.file = self.base / "ccdaemon.toml"
        for name in ("state", "recordings"):
            (self.base / name).mkdir(parents=True)
        (self.base / "cel.csv").write_text(cel_row("1795426488.483553"))
        self.file.write_text("")
        self.file.chmod(0o600)
        self.config = Config(
            state_dir=self.base / "state",
            asterisk=Asterisk(
                secret="x",
                client_channel="SIP/{phone}",
                recordings_mount=self.base / "recordings",
                cel_file=self.base / "cel.csv",
            ),
            database=Database(url="embedded"),
        )

    def found(self, user: int = 1000) -> dict[str, Finding]:
        """Give the findings by the first word of their part, but for those that are ok."""
        findings = list(try_files(self.config, self.file, user))
        self.assertEqual(len(findings), 4 + (user == 0))
        return {f.part.split()[0]: f for f in findings if f.level is not Level.OK}

    def test_all_is_well(self) -> None:
        """Nothing is said against a file and folders that are as they should be."""
        self.assertEqual(self.found(), {})

    def test_root(self) -> None:
        """Root is told that it learns nothing about the daemon's rights."""
        self.assertEqual(list(self.found(user=0)), ["user"])

    def test_open_configuration(self) -> None:
        """A configuration that everybody may read is something to look at."""
        self.file.chmod(0o644)
        found = self.found()[str(self.file)]
        self.assertEqual(found.level, Level.WARN)
        self.assertIn("chmod 600", found.what)

    def test_do_not_call_file(self) -> None:
        """Whom not to call has to be known; lines that are no numbers are something to look at."""
        file = self.base / "do-not-call.txt"
        self.config = attrs.evolve(self.config, limits=LimitSettings(do_not_call_file=file))
        for content, level, what in [
            (None, Level.FAIL, "cannot be read: No such file"),
            ("380441234567\nboss\n", Level.WARN, "1 numbers, and 1 lines that are none"),
            ("380441234567\n7900*\n", Level.OK, "2 numbers"),
        ]:
            if content is not None:
                file.write_text(content)
            [found] = [
                finding
                for finding in try_files(self.config, self.file, 1000)
                if finding.part.startswith("do_not_call_file")
            ]
            self.assertEqual(found.level, level)
            self.assertIn(what, found.what)

    def test_state_dir_to_be_made(self) -> None:
        """A state_dir that is not there yet is fine where it can be made."""
        self.config = attrs.evolve(self.config, state_dir=self.base / "a" / "b")
        self.assertEqual(self.found(), {})
        self.assertFalse((self.base / "a").exists())

    def test_state_dir_is_a_file(self) -> None:
        """A state_dir below a file cannot be."""
        self.config = attrs.evolve(self.config, state_dir=self.file / "state")
        self.assertEqual(self.found()["state_dir"].level, Level.FAIL)

    def test_state_dir_not_writable(self) -> None:
        """A state_dir that nobody may write to is named, with the reason."""
        self.config = attrs.evolve(self.config, state_dir=Path("/proc/self"))
        self.assertIn("/proc/self cannot be written: ", self.found()["state_dir"].what)

    def test_recordings(self) -> None:
        """A folder of recordings has to be there, unless nothing is recorded."""
        missing = attrs.evolve(self.config.asterisk, recordings_mount=self.base / "none")
        self.config = attrs.evolve(self.config, asterisk=missing)
        self.assertEqual(self.found()["recordings_mount"].level, Level.FAIL)
        silent = attrs.evolve(self.config, asterisk=attrs.evolve(missing, record=False))
        self.assertEqual(len(list(try_files(silent, self.file, 1000))), 3)

    def test_recordings_that_have_to_be_written(self) -> None:
        """Where files are put together or removed, each day's folder has to be writable."""
        day = self.base / "recordings" / "2026" / "11" / "30"
        day.mkdir(parents=True)
        shut: list[Path] = []
        may = os.access
        self.patch(
            os,
            "access",
            lambda path, mode: not (mode & os.W_OK and Path(path) in shut) and may(path, mode),
        )
        asterisk = self.config.asterisk
        needs: list[tuple[str, dict[str, Any]]] = [
            ("asterisk.stereo", {"asterisk": attrs.evolve(asterisk, stereo=True)}),
            ("retention", {"retention": RetentionSettings(history_days=30)}),
            ("the permission forget", {"clients": (FORGETS,)}),
        ]
        quiet = self.config
        for name, changed in needs:
            self.config = attrs.evolve(quiet, **changed)
            shut.clear()
            self.assertEqual(self.found(), {}, name)
            for folder in (self.base / "recordings", day):
                shut[:] = [folder]
                found = self.found()["recordings_mount"]
                self.assertEqual(found.level, Level.FAIL)
                self.assertIn(f"{folder} cannot be written by this user, as {name}", found.what)
        self.config = quiet
        self.assertEqual(self.found(), {})

    def test_cel_file(self) -> None:
        """A CEL file may be missing or empty, but not have other columns than ours."""
        cel = self.config.asterisk.cel_file
        cel.write_text('"HANGUP","1.2"\n')
        self.assertIn("other columns", self.found()["cel_file"].what)
        cel.write_text(cel_row("2026-11-23 20:00:00"))
        self.assertIn("dateformat", self.found()["cel_file"].what)
        cel.write_text(cel_row("1795426488.483553") + '"CHAN_ST')
        self.assertNotIn("cel_file", self.found())
        cel.write_text("")
        self.assertEqual(self.found(), {})
        cel.unlink()
        self.assertEqual(self.found()["cel_file"].level, Level.WARN)
        cel.mkdir()
        self.assertEqual(self.found()["cel_file"].level, Level.FAIL)


class UnitTests(SynchronousTestCase):
    """Which folders the systemd unit lets the daemon write."""

    def test_shipped(self) -> None:
        """Where Debian's Asterisk has its recordings, and no other."""
        lines = (ROOT / "conf" / "ccdaemon.service").read_text().splitlines()
        self.assertTrue(lets_write(lines, Path("/var/spool/asterisk/monitor")))
        self.assertFalse(lets_write(lines, Path("/srv/recordings")))
        more = [*lines, "[Service]", "ReadWritePaths=/var/lib/x /srv"]
        self.assertTrue(lets_write(more, Path("/srv/recordings")))
        self.assertFalse(lets_write([*more, "ReadWritePaths="], Path("/srv/recordings")))
        self.assertTrue(lets_write(["ProtectSystem=full"], Path("/srv/recordings")))

    def test_found(self) -> None:
        """The administrator's own unit counts, with what is added; without one none does."""
        base = Path(self.mktemp())
        etc, usr = base / "etc", base / "usr"
        folder = Path("/srv")
        self.assertIsNone(unit_that_shuts(folder, (etc, usr)))
        for place, text in ((usr, ""), (etc, "ProtectSystem=strict\n")):
            place.mkdir(parents=True)
            (place / "ccdaemon.service").write_text(text)
        self.assertEqual(unit_that_shuts(folder, (etc, usr)), etc / "ccdaemon.service")
        (etc / "ccdaemon.service.d").mkdir()
        (etc / "ccdaemon.service.d" / "mine.conf").write_text("[Service]\nReadWritePaths=/srv\n")
        self.assertIsNone(unit_that_shuts(folder, (etc, usr)))


class DatabaseTests(SynchronousTestCase):
    """What is said about a Postgres that cannot be used."""

    def test_nobody_there(self) -> None:
        """A Postgres that is not there is told with libpq's words, in one line."""
        found = try_database(Database(url="postgresql://u:pa55@127.0.0.1:1/d"), NOWHERE)
        self.assertEqual(
            (found.level, found.part), (Level.FAIL, "database postgresql://u@127.0.0.1:1/d")
        )
        self.assertIn("Connection refused", found.what)
        self.assertNotIn("\n", str(found))

    def test_password_is_not_shown(self) -> None:
        """An address that libpq refuses is told without its password."""
        found = try_database(Database(url="postgresql://u:pa55@h/d?nonesuch=1"), NOWHERE)
        self.assertEqual(found.level, Level.FAIL)
        self.assertNotIn("pa55", str(found))

    def test_embedded(self) -> None:
        """Where no Postgres fits the data that are there, that is told, and nothing is made."""
        base = Path(self.mktemp()).absolute()
        (base / "postgres" / "data").mkdir(parents=True)
        (base / "postgres" / "data" / "PG_VERSION").write_text("7\n")
        found = try_database(Database(url="embedded"), base)
        self.assertEqual(found.level, Level.FAIL)
        self.assertIn("needs PostgreSQL 7 on this machine", found.what)
        self.assertEqual(len(list(base.rglob("*"))), 3)


def listen(test: TestCase, factory: Any) -> int:
    """Serve on a free port of loopback until the test is over; give the port's number."""
    port = IReactorTCP(reactor).listenTCP(0, factory, interface="127.0.0.1")
    test.addCleanup(port.stopListening)
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


class PortTests(TestCase):
    """What is said about the API's port, with real sockets on loopback."""

    async def level(self, description: str) -> Level:
        """Ask, and give the level of the only finding."""
        [found] = await try_http(Http(listen=description), reactor)
        return found.level

    async def test_free(self) -> None:
        """A port that can be listened on is free, and free again afterwards."""
        for _ in range(2):
            self.assertEqual(await self.level("tcp:0:interface=127.0.0.1"), Level.OK)

    async def test_a_daemon_has_it(self) -> None:
        """What answers in the API's envelope is taken for a daemon that runs."""
        root = Resource()
        root.putChild(b"", Data(b'{"status":"error","status_code":404}', "application/json"))
        port = listen(self, Site(root))
        self.assertEqual(await self.level(f"tcp:{port}:interface=127.0.0.1"), Level.WARN)

    async def test_another_program_has_it(self) -> None:
        """A port of any other program is a failure."""
        port = listen(self, Site(Resource()))
        self.assertEqual(await self.level(f"tcp:{port}:interface=127.0.0.1"), Level.FAIL)

    async def test_no_such_address(self) -> None:
        """An address that is not this machine's is a failure."""
        self.assertEqual(await self.level("tcp:0:interface=192.0.2.1"), Level.FAIL)

    async def test_no_such_folder(self) -> None:
        """A socket in a folder that is not there is a failure."""
        self.assertEqual(await self.level("unix:/nowhere/socket"), Level.FAIL)


class ClientTests(SynchronousTestCase):
    """Clients whom any page's browser could be taken for."""

    def test_table(self) -> None:
        """Known by an address beyond this machine alone, and allowed to act by GET."""
        office, here = (network("10.0.0.0/8"),), (network("127.0.0.1"), network("::1"))
        for keys, is_told in (
            ({"networks": office}, True),
            ({"networks": (*here, *office), "permissions": ["read", "hangup"]}, True),
            ({"networks": office, "permissions": ["read", "audit"]}, False),
            ({"networks": office, "get": False}, False),
            ({"networks": office, "key_sha256": "0" * 64}, False),
            ({"networks": here}, False),
            ({"key_sha256": "0" * 64}, False),
        ):
            found = list(try_clients([Client(name="crm", **cast(Any, keys))]))
            self.assertEqual([each.level for each in found], [Level.WARN] * is_told, keys)


class ReachingTests(TestCase):
    """What is said about an Asterisk that cannot be reached or is none."""

    async def tried(self, port: int, **settings: Any) -> Finding:
        """Try, and give the only finding."""
        asterisk = Asterisk(port=port, secret="s3cret", client_channel="SIP/{phone}", **settings)
        config = Config(asterisk=asterisk, database=Database(url="embedded"))
        [found] = await try_asterisk(config, reactor)
        self.assertEqual(found.level, Level.FAIL)
        self.assertNotIn("s3cret", str(found))
        return found

    async def test_nobody_there(self) -> None:
        """A port that nobody listens on is told as refused."""
        found = await self.tried(1)
        self.assertIn("cannot be reached: ", found.what)

    async def test_some_other_server(self) -> None:
        """A server that greets as something else is told to be no AMI."""

        class Mail(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"220 mail.example ESMTP\r\n")  # type: ignore[union-attr]

        found = await self.tried(listen(self, ServerFactory.forProtocol(Mail)))
        self.assertIn("ccdaemon: ", found.what)

    async def test_certificates_that_are_not_there(self) -> None:
        """A tls_ca that cannot be read is told before anything is sent."""
        found = await self.tried(1, tls=True, tls_ca=Path("/nowhere/ca.pem"))
        self.assertIn("No such file", found.what)


class ShowTests(SynchronousTestCase):
    """What is printed, and the exit status."""

    def shown(self, *findings: Finding) -> tuple[int, list[str]]:
        """Give the exit status and the lines."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = show(findings)
        return status, out.getvalue().splitlines()

    def test_lines(self) -> None:
        """Each finding is one line, and the last line sums up; only a failure gives status 1."""
        self.assertEqual(self.shown(ok("a", "b")), (0, ["ok    a: b", "All is well."]))
        self.assertEqual(
            self.shown(ok("a", "b"), warn("c", "d")),
            (0, ["ok    a: b", "warn  c: d", "Nothing fails; 1 to look at."]),
        )
        status, lines = self.shown(fail("a", "b"), warn("c", "d"))
        self.assertEqual((status, lines[0]), (1, "FAIL  a: b"))
        self.assertIn("1 of 2 fail", lines[-1])

    def test_command(self) -> None:
        """The command prints a line for each part and exits with 1 where nothing is there."""
        file = Path(self.mktemp()).absolute()
        file.write_text(
            f'state_dir = "{file.parent}/state"\n'
            '[http]\nlisten = "tcp:0:interface=127.0.0.1"\n'
            '[asterisk]\nport = 1\nsecret = "x"\nclient_channel = "PJSIP/{phone}@t"\n'
            '[database]\nurl = "postgresql://u@127.0.0.1:1/d"\n'
        )
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, ccdaemon.cli as c; sys.exit(c.main())",
                "check",
                file,
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ended.returncode, ended.stderr), (1, ""))
        for start in ("ok    state_dir", "ok    http.listen", "FAIL  database", "FAIL  Asterisk"):
            self.assertIn(start, ended.stdout)
