"""Tests of the configuration: what is read, what is refused, and in which words."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.calls.model import State
from ccdaemon.config import (
    LOCAL,
    Asterisk,
    Client,
    Config,
    ConfigError,
    Database,
    FastAgi,
    Http,
    LimitSettings,
    RoutingSettings,
    Webhook,
    load,
    parse,
    validators,
)
from ccdaemon.config.hours import Holiday, Span
from ccdaemon.config.numbers import Numbers, Trunk
from ccdaemon.config.retention import LogSettings, OperatorSettings, RetentionSettings
from ccdaemon.config.routing import Hours
from ccdaemon.config.webhooks import STATES

SMALLEST = """
[asterisk]
secret = "s3cret"
client_channel = "PJSIP/{phone}@trunk"
[database]
url = "embedded"
"""

#: A webhook as TOML.
WEBHOOK = '{url = "https://a.example/hook", secret = "whsec_YWJjZA=="}'


def with_webhook(keys: str) -> str:
    """Give a webhook with these keys, and what it cannot do without if they are not among them."""
    missing = ['url = "https://a.example/hook"', 'secret = "whsec_YWJjZA=="']
    kept = [line for line in missing if f"{line.partition(' ')[0]} =" not in keys]
    return f"[{{{', '.join([*kept, keys])}}}]"


#: Key, wrong value as TOML, and a part of what is said about it.
WRONG = [
    ("state_dir", '"var"', 'state_dir: expected an absolute path, got "var"'),
    ("state_dir", '"/var/../etc"', 'expected an absolute path, got "/var/../etc" (without "..")'),
    ("state_dir", "1", "expected an absolute path, got 1"),
    ("http", "1", "http: expected a table [http], got 1"),
    ("http.listen", '"8080"', "http.listen: expected a Twisted endpoint description"),
    ("http.listen", '"tcp:http"', "expected a Twisted endpoint description"),
    ("http.listen", "8080", "expected a Twisted endpoint description"),
    ("http.listen", '"tcp:8080"', "listens beyond loopback, but no [[clients]] says who may ask"),
    ("http.listen", '"tcp:8080:interface=10.0.0.1"', "listens beyond loopback"),
    ("http.listen", '"tcp:8080:interface=pbx"', "listens beyond loopback"),
    ("http.hosts", '["Calls.Example"]', "host names in lower case, without ports, got"),
    ("http.hosts", '["calls.example:80"]', "host names in lower case, without ports, got"),
    ("http.hosts", '"calls.example"', "expected a list of host names"),
    ("http.public_url", '"calls.example"', "http.public_url: expected an address such as"),
    ("http.public_url", '"https://calls.example?a"', "(without user, query and fragment)"),
    ("http.public_url", '"https://calls.example:99999"', "Port out of range"),
    ("http.public_url", '"https://"', "expected an address such as"),
    ("http.public_url", "true", "expected an address such as"),
    ("clients", '"crm"', "clients: expected tables [[clients]], got"),
    ("clients", "[1]", "clients: expected tables [[clients]], got [1]"),
    ("clients", "[{}]", "clients[1].name: missing; expected a short name"),
    ("clients", '[{name = "crm"}]', "clients[1].networks: missing; a client needs networks"),
    ("clients", '[{name = "a b", networks = []}]', "clients[1].name: expected a short name"),
    ("clients", '[{name = "a", networks = ["10.0.0.1/8"]}]', "10.0.0.1/8 has host bits set"),
    ("clients", '[{name = "a", networks = [1]}]', "expected a list of networks such as"),
    ("clients", '[{name = "a", key_sha256 = "abc"}]', "expected 64 hexadecimal digits"),
    ("clients", '[{name = "a", key_sha256 = []}]', "expected one or 2 of 64 hexadecimal digits"),
    ("clients", '[{name = "a", permissions = ["dial"]}]', 'permissions such as ["call", "read"]'),
    ("http.trusted_proxies", '["10.0.0.1/8"]', "10.0.0.1/8 has host bits set"),
    ("asterisk.host", '""', "asterisk.host: expected a host name or address"),
    ("asterisk.port", '"x"', 'asterisk.port: expected a whole number 1…65535, got "x"'),
    ("asterisk.port", "0", "expected a whole number 1…65535, got 0"),
    ("asterisk.port", "true", "expected a whole number 1…65535, got true"),
    ("asterisk.tls", "1", "asterisk.tls: expected true or false, got 1"),
    ("asterisk.tls_ca", '"/ca.pem"', "asterisk.tls_ca: does nothing without tls = true"),
    ("asterisk.auth", '"sha1"', 'asterisk.auth: expected "md5" or "plain", got "sha1"'),
    ("asterisk.username", '"a b"', "asterisk.username: expected a user of manager.conf"),
    ("asterisk.secret", '""', "asterisk.secret: expected the secret of manager_ccdaemon.conf"),
    ("asterisk.ping_interval", "0", "expected a whole number 1…300, got 0"),
    ("asterisk.operator_channel", '"PJSIP/1000"', "expected a dial string with {sip} in it"),
    ("asterisk.operator_channel", '"PJSIP/{sip}&SIP/{sip}"', "expected a dial string"),
    ("asterisk.operator_channel", '"{sip}"', "expected a dial string"),
    ("asterisk.client_channel", '"PJSIP/{sip}"', "expected a dial string with {phone} in it"),
    ("asterisk.client_channel", '"PJSIP/{phone},20"', "expected a dial string"),
    ("asterisk.client_channel", '"PJSIP/${X}{phone}"', "expected a dial string"),
    ("asterisk.operator_pattern", '"[0-9"', "expected a regular expression"),
    ("asterisk.operator_pattern", '""', "expected a regular expression"),
    ("asterisk.phone_pattern", '"[0-9é]+"', "expected a regular expression in ASCII"),
    ("asterisk.operator_timeout", "601", "expected a whole number 1…600, got 601"),
    ("asterisk.client_timeout", "1.5", "expected a whole number 1…600, got 1.5"),
    ("asterisk.caller_id_name", '"{sip}"', "asterisk.caller_id_name: expected up to 40 printable"),
    ("asterisk.caller_id_name", r'"a\nb"', "asterisk.caller_id_name: expected up to 40 printable"),
    ("asterisk.caller_id", '"office"', "asterisk.caller_id: expected digits, or nothing"),
    ("asterisk.record", '"yes"', 'asterisk.record: expected true or false, got "yes"'),
    ("asterisk.recordings_dir", '"monitor"', "asterisk.recordings_dir: expected an absolute path"),
    ("asterisk.recordings_dir", '"/rec,b"', "for the dialplan"),
    ("asterisk.recordings_dir", '"/rec/${X}"', "for the dialplan"),
    ("asterisk.recordings_dir", f'"/{"r" * 200}"', "for the dialplan"),
    ("asterisk.cel_file", "{}", "asterisk.cel_file: expected an absolute path, got a table"),
    ("database", "[]", "database: expected a table [database], got []"),
    ("database.url", '"mysql://a/b"', 'database.url: expected "embedded" or "postgresql://'),
    ("database.url", '"postgresql://a@b"', "(a port 1…65535 and the database's name)"),
    ("database.url", '"postgresql://a@b:x/c"', "database.url: expected"),
    ("database.url", "1", "database.url: expected"),
    ("fastagi.listen", '"4573"', "fastagi.listen: expected a Twisted endpoint description"),
    ("fastagi.listen", '"tcp:4573"', "fastagi.networks: missing; listening beyond loopback"),
    ("fastagi.secret", '"short"', "fastagi.secret: expected 24 to 100 letters, digits, - and _"),
    ("fastagi.secret", f'"{"/" * 40}"', "fastagi.secret: expected 24 to 100 letters"),
    ("fastagi.networks", '["crm"]', "fastagi.networks: expected a list of networks such as"),
    ("limits.max_calls", "0", "limits.max_calls: expected a whole number 1…10000, got 0"),
    ("limits.allowed_prefixes", '["+"]', "expected a list of number prefixes"),
    ("limits.forbidden_prefixes", "380", "expected a list of number prefixes"),
    ("limits.countries", '["xx"]', "limits.countries: expected a list of countries such as"),
    ("limits.allowed_patterns", '["("]', "limits.allowed_patterns: expected a list of regular"),
    ("limits.do_not_call", '["boss"]', "limits.do_not_call: expected a list of numbers such as"),
    ("limits.do_not_call_file", '"list.txt"', "expected an absolute path"),
    ("limits.operator_per_minute", "-1", "expected a whole number 0…10000, got -1"),
    ("limits.prefix_per_minute", "5", "limits.prefix_per_minute: expected calls a minute by"),
    ("limits.prefix_per_minute", '{ "1x" = 5 }', "(1x are no digits)"),
    ("limits.kinds", '["internal"]', "(one of ordinary premium shared_cost personal pager"),
    ("limits.emergency", '["+112"]', "limits.emergency: expected a list of short numbers"),
    ("numbers.country", '"UA"', "numbers.country: expected a country in two small letters"),
    ("numbers.internal", '"["', "numbers.internal: expected a regular expression"),
    ("numbers.dial", '"local"', 'numbers.dial: expected "as_sent" or "e164"'),
    ("numbers.dial", '"national"', "numbers.dial: national needs a country"),
    ("numbers.trunks", "[{}]", "numbers.trunks[1].prefixes: missing; expected a list of number"),
    ("numbers.trunks", '[{prefixes = ["7"], dial = "e164"}]', "dial needs numbers.country"),
    ("limits.prefix_per_minute", '{ "1" = 0 }', "(a whole number 1…10000 for 1)"),
    ("limits.quiet_hours", '["9-18"]', "limits.quiet_hours: expected a list of times such as"),
    ("limits.quiet_hours", '["21:00-08:00"]', "limits.timezone: missing; whose clock are"),
    ("routing.url", '"crm.example"', "routing.url: expected an address such as"),
    ("routing.url", '"ftp://crm.example"', "routing.url: expected an address such as"),
    ("routing.url", '"https://u:p@crm.example"', "(without user and fragment)"),
    ("routing.url", '"https://crm.example:99999/"', "Port out of range"),
    ("routing.tls_ca", '"/ca.pem"', "routing.tls_ca: does nothing without an https address"),
    ("routing.timeout", "2", "routing.timeout: expected seconds, 0.1…1.5, got 2"),
    ("routing.timeout", "true", "expected seconds, 0.1…1.5, got true"),
    ("routing.sticky", "1", "routing.sticky: expected true or false, got 1"),
    ("routing.operators", '"1000"', "routing.operators: expected a list of operators"),
    ("routing.operators", "[[]]", "expected a list of operators"),
    ("routing.operators", "[1000]", "expected a list of operators"),
    ("routing.operators", '[["1000", ["1"]]]', "expected a list of operators"),
    ("routing.operators", f"{['1000'] * 51}", "(no more than 50)"),
    ("routing.operators", '["1000", "boss"]', "boss is no operator: asterisk.operator_pattern is"),
    ("routing.queue", '"a,b"', "routing.queue: expected the name of a queue"),
    ("routing.queue", '"q"\noperators = ["1000"]', "there is a list of operators, too"),
    ("routing.ring_timeout", "0", "routing.ring_timeout: expected a whole number 1…600, got 0"),
    ("routing.redirect_pattern", '"("', "routing.redirect_pattern: expected a regular expression"),
    ("routing.blacklist", '["*"]', "routing.blacklist: expected a list of callers such as"),
    ("routing.blacklist", '["7*9"]', "expected a list of callers such as"),
    ("routing.blacklisted", '"a b"', 'routing.blacklisted: expected "fallback", "reject", or'),
    ("routing.closed", '"123456"', "routing.closed: 123456 does not match redirect_pattern"),
    ("routing.timezone", '"Kiev"', "routing.timezone: expected the name of a time zone such as"),
    ("routing.timezone", '"../passwd"', "expected the name of a time zone such as"),
    ("routing.hours", '{mon = ["09:00-18:00"]}', "routing.timezone: missing; whose clock are"),
    ("routing.holidays", '["01-01"]', "routing.timezone: missing; whose clock are"),
    ("routing.holidays", '["02-30"]', "routing.holidays: expected a list of dates such as"),
    ("routing.holidays", '["2027-02-29"]', "(day is out of range for month)"),
    ("routing.holidays", '["1 May"]', "expected a list of dates such as"),
    ("routing.hours", '"9-18"', "routing.hours: expected a table [routing.hours]"),
    ("routing.hours.mon", '["9-18"]', "routing.hours.mon: expected a list of times such as"),
    ("routing.hours.mon", '["09:00-24:01"]', "(a day ends at 24:00)"),
    ("routing.hours.mon", '["09:00-09:00"]', "it begins and ends at the same time"),
    ("routing.hours.monday", "[]", "routing.hours.monday: unknown key; did you mean mon?"),
    ("asterisk.secert", '"x"', "asterisk.secert: unknown key; did you mean secret?"),
    ("htpp", "{}", "htpp: unknown key; did you mean http?"),
    ("webhooks", '"x"', "webhooks: expected tables [[webhooks]], got"),
    ("webhooks", "[{}]", "webhooks[1].secret: missing; expected a secret such as"),
    ("webhooks", "[{}]", "webhooks[1].url: missing; expected an address such as"),
    ("webhooks", with_webhook('url = "ftp://a.example"'), "webhooks[1].url: expected an address"),
    ("webhooks", with_webhook('secret = "hunter2"'), "webhooks[1].secret: expected a secret such"),
    ("webhooks", with_webhook("secret = []"), "webhooks[1].secret: expected a secret such as"),
    ("webhooks", with_webhook("name = 'a b'"), "webhooks[1].name: expected a short name, got"),
    ("webhooks", with_webhook('types = ["call"]'), "webhooks[1].types: expected a list of"),
    ("webhooks", with_webhook("types = []"), "webhooks[1].types: names nothing"),
    (
        "webhooks",
        with_webhook('states = ["DONE"]'),
        "webhooks[1].states: expected a list of states",
    ),
    (
        "webhooks",
        with_webhook('types = ["record.ready"], states = ["CALL"]'),
        "states: does nothing",
    ),
    ("webhooks", with_webhook('format = "yaml"'), 'webhooks[1].format: expected "json" or "xml"'),
    ("webhooks", with_webhook("timeout = 0"), "webhooks[1].timeout: expected seconds, 0.1…60"),
    ("webhooks", with_webhook("parallel = 0"), "webhooks[1].parallel: expected a whole number"),
    ("webhooks", with_webhook("retry_first = 0"), "webhooks[1].retry_first: expected seconds"),
    ("webhooks", with_webhook("retry_longest = 0.5"), "retry_longest: is less than retry_first"),
    ("webhooks", with_webhook("log_days = 0"), "webhooks[1].log_days: expected a whole number 1"),
    ("webhooks", with_webhook('url = "http://a.b", tls_ca = "/c"'), "tls_ca: does nothing where"),
    ("webhooks", f"[{WEBHOOK}, {WEBHOOK}]", "webhooks[2].name: another webhook has it"),
]


def with_key(key: str, value: str) -> str:
    """Give the smallest configuration with one key set or replaced."""
    table, _, name = key.rpartition(".")
    lines = [line for line in SMALLEST.splitlines() if not line.startswith(f"{name} =")]
    if not table:
        if f"[{name}]" in lines:
            lines.remove(f"[{name}]")
        return "\n".join([f"{name} = {value}", *lines])
    if f"[{table}]" not in lines:
        lines.append(f"[{table}]")
    lines.insert(lines.index(f"[{table}]") + 1, f"{name} = {value}")
    return "\n".join(lines)


class FastAgiTests(SynchronousTestCase):
    """Where Asterisk asks, and from where."""

    def test_port(self) -> None:
        """The port is known where the description says it plainly."""
        for listen, port in [
            ("tcp:4573:interface=127.0.0.1", 4573),
            ("tcp:port=4574", 4574),
            ("tcp6:4575:interface=\\:\\:1", 4575),
            ("unix:/run/agi", None),
        ]:
            self.assertEqual(FastAgi(listen=listen).port, port)

    def test_backlog(self) -> None:
        """A burst finds room, unless the description says how much there is, or takes no word."""
        for written, listened in [
            ("tcp:8080", "tcp:8080:backlog=2048"),
            ("tcp6:80:interface=\\:\\:1", "tcp6:80:interface=\\:\\:1:backlog=2048"),
            ("unix:/run/api", "unix:/run/api:backlog=2048"),
            ("haproxy:tcp:8080", "haproxy:tcp:8080:backlog=2048"),
            ("tcp:8080:backlog=7", "tcp:8080:backlog=7"),
            ("tcp:8080:127.0.0.1:7", "tcp:8080:127.0.0.1:7"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ]:
            self.assertEqual(validators.with_backlog(written), listened)

    def test_who_may_ask(self) -> None:
        """This machine, unless networks are named; what is no address may not."""
        for host, networks, may in [
            ("127.0.0.1", (), True),
            ("::1", (), True),
            ("::ffff:127.0.0.1", (), True),
            ("10.0.0.5", (), False),
            ("10.0.0.5", (ipaddress.ip_network("10.0.0.0/24"),), True),
            ("127.0.0.1", (ipaddress.ip_network("10.0.0.0/24"),), False),
            ("", (), False),
        ]:
            self.assertEqual(FastAgi(networks=networks).admits(host), may, host)


class ReadingTests(SynchronousTestCase):
    """What a sound configuration becomes."""

    def refused(self, content: str) -> ConfigError:
        """Parse what has to be refused."""
        error = self.assertRaises(ConfigError, parse, content, "c.toml")
        assert isinstance(error, ConfigError)
        return error

    def test_smallest(self) -> None:
        """Three keys are enough, and everything else has the default that is documented."""
        config = parse(SMALLEST)
        self.assertEqual(
            config,
            Config(
                asterisk=Asterisk(secret="s3cret", client_channel="PJSIP/{phone}@trunk"),
                database=Database(url="embedded"),
            ),
        )
        self.assertEqual(config.asterisk.recordings_mount, config.asterisk.recordings_dir)
        self.assertEqual(config.clients, (LOCAL,))

    def test_every_key(self) -> None:
        """Values of every kind arrive as the types that the daemon works with."""
        config = parse(
            """
            state_dir = "/s"
            [http]
            listen = 'tcp6:80:interface=\\:\\:'
            hosts = ["calls.example", "pbx"]
            trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
            public_url = "https://calls.example/"
            [[clients]]
            name = "crm"
            networks = ["10.0.0.0/8", "::1"]
            [[clients]]
            name = "dashboard"
            key_sha256 = "%s"
            permissions = ["read"]
            [asterisk]
            host = "pbx"
            port = 5039
            tls = true
            tls_ca = "/ca.pem"
            auth = "plain"
            username = "cc"
            secret = "x"
            ping_interval = 5
            operator_channel = "SIP/{sip}"
            client_channel = "SIP/trunk/{phone}"
            operator_pattern = '[1-9][0-9]{3}'
            phone_pattern = '380[0-9]{9}'
            operator_timeout = 20
            client_timeout = 40
            caller_id_name = "Заказ {order_id}"
            caller_id = "380441234567"
            record = false
            recordings_dir = "/a"
            recordings_mount = "/b"
            cel_file = "/c.csv"
            [database]
            url = "postgresql://u:pw@db:5433/calls?sslmode=require"
            [fastagi]
            listen = "tcp:4574"
            networks = ["10.0.0.5"]
            [limits]
            max_calls = 5
            allowed_prefixes = ["380"]
            forbidden_prefixes = ["38090"]
            countries = ["ua"]
            allowed_patterns = ['1[0-9]{2}']
            forbidden_patterns = ['.*666']
            do_not_call = ["+380441234567", "7900*"]
            do_not_call_file = "/dnc"
            operator_per_minute = 6
            client_per_minute = 60
            prefix_per_minute = { "1" = 1, "380" = 30, "7" = 5 }
            quiet_hours = ["21:00-08:00"]
            timezone = "Europe/Kyiv"
            [routing]
            url = "https://crm.example/route?token=t0ken"
            tls_ca = "/crm.pem"
            timeout = 0.5
            redirect_pattern = '7[0-9]{2}'
            sticky = true
            operators = ["1000", ["1001", "1002", "1001"]]
            ring_timeout = 15
            blacklist = ["+380441234567", "7900*", "anonymous"]
            blacklisted = "fallback"
            timezone = "Europe/Kyiv"
            holidays = ["2026-12-25", "01-01", 2027-05-01]
            closed = "700"
            [routing.hours]
            mon = ["09:00-13:00", "14:00-18:00"]
            fri = ["22:00-02:00", "00:00-24:00"]
            [[webhooks]]
            url = "https://crm.example:8443/hook?token=t0ken"
            secret = "whsec_YWJjZA=="
            [[webhooks]]
            url = "https://wall.example/"
            name = "wall"
            secret = ["whsec_YWJjZA==", "whsec_YWJjZGU="]
            types = ["call.state", "operator.state", "record.ready"]
            states = ["CALL", "FINISH"]
            format = "xml"
            timeout = 2.5
            parallel = 2
            retry_first = 0.5
            retry_longest = 60
            log_days = 30
            tls_ca = "/ca.pem"
            """
            % ("AB" * 32)
        )
        crm = Client(
            name="crm",
            networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")),
        )
        dashboard = Client(name="dashboard", key_sha256="ab" * 32, permissions=["read"])
        self.assertEqual(
            config,
            Config(
                state_dir=Path("/s"),
                http=Http(
                    listen=r"tcp6:80:interface=\:\:",
                    hosts=("calls.example", "pbx"),
                    trusted_proxies=(
                        ipaddress.ip_network("127.0.0.1"),
                        ipaddress.ip_network("10.0.0.0/8"),
                    ),
                    public_url="https://calls.example",
                ),
                clients=(crm, dashboard),
                asterisk=Asterisk(
                    host="pbx",
                    port=5039,
                    tls=True,
                    tls_ca=Path("/ca.pem"),
                    auth="plain",
                    username="cc",
                    secret="x",
                    ping_interval=5,
                    operator_channel="SIP/{sip}",
                    client_channel="SIP/trunk/{phone}",
                    operator_pattern=validators.Pattern("[1-9][0-9]{3}"),
                    phone_pattern=validators.Pattern("380[0-9]{9}"),
                    operator_timeout=20,
                    client_timeout=40,
                    caller_id_name="Заказ {order_id}",
                    caller_id="380441234567",
                    record=False,
                    recordings_dir=Path("/a"),
                    recordings_mount=Path("/b"),
                    cel_file=Path("/c.csv"),
                ),
                database=Database(url="postgresql://u:pw@db:5433/calls?sslmode=require"),
                fastagi=FastAgi(
                    listen="tcp:4574", networks=(ipaddress.IPv4Network("10.0.0.5/32"),)
                ),
                limits=LimitSettings(
                    max_calls=5,
                    allowed_prefixes=("380",),
                    forbidden_prefixes=("38090",),
                    countries=("ua",),
                    allowed_patterns=(validators.Pattern("1[0-9]{2}"),),
                    forbidden_patterns=(validators.Pattern(".*666"),),
                    do_not_call=("+380441234567", "7900*"),
                    do_not_call_file=Path("/dnc"),
                    operator_per_minute=6,
                    client_per_minute=60,
                    prefix_per_minute=(("380", 30), ("1", 1), ("7", 5)),
                    quiet_hours=(Span(1260, 1920),),
                    timezone=ZoneInfo("Europe/Kyiv"),
                ),
                routing=RoutingSettings(
                    url="https://crm.example/route?token=t0ken",
                    tls_ca=Path("/crm.pem"),
                    timeout=0.5,
                    redirect_pattern=validators.Pattern("7[0-9]{2}"),
                    sticky=True,
                    operators=(("1000",), ("1001", "1002")),
                    ring_timeout=15,
                    blacklist=("+380441234567", "7900*", "anonymous"),
                    blacklisted="fallback",
                    timezone=ZoneInfo("Europe/Kyiv"),
                    hours=Hours(
                        mon=(Span(540, 780), Span(840, 1080)),
                        fri=(Span(1320, 1560), Span(0, 1440)),
                    ),
                    holidays=(Holiday(2026, 12, 25), Holiday(None, 1, 1), Holiday(2027, 5, 1)),
                    closed="700",
                ),
                webhooks=(
                    Webhook(
                        url="https://crm.example:8443/hook?token=t0ken",
                        name="crm.example:8443-4ed257",
                        secret=("whsec_YWJjZA==",),
                    ),
                    Webhook(
                        url="https://wall.example/",
                        name="wall",
                        secret=("whsec_YWJjZA==", "whsec_YWJjZGU="),
                        types=("call.state", "operator.state", "record.ready"),
                        states=("CALL", "FINISH"),
                        format="xml",
                        timeout=2.5,
                        parallel=2,
                        retry_first=0.5,
                        retry_longest=60.0,
                        log_days=30,
                        tls_ca=Path("/ca.pem"),
                    ),
                ),
            ),
        )

    def test_every_wrong_value_is_named(self) -> None:
        """Each wrong value is refused with its key, what was expected, and what was found."""
        for key, value, said in WRONG:
            with self.subTest(key=key, value=value):
                self.assertIn(said, str(self.refused(with_key(key, value))))

    def test_all_problems_at_once(self) -> None:
        """One error names every problem, in the order of the file, each with its line."""
        error = self.refused('[asterisk]\nport = 0\n\nsecert = "x"\n[[clients]]\nname = ""\n')
        self.assertEqual(
            [(problem.line, problem.key) for problem in error.problems],
            [
                (None, "database.url"),
                (1, "asterisk.secret"),
                (1, "asterisk.client_channel"),
                (2, "asterisk.port"),
                (4, "asterisk.secert"),
                (6, "clients[1].name"),
            ],
        )
        self.assertIn("c.toml:2: asterisk.port: expected a whole number", str(error))

    def test_tables_that_nobody_knows_are_named_where_they_begin(self) -> None:
        """A strange table and a strange list of tables are refused with their first line."""
        error = self.refused("[[hooks]]\na = 1\n[[hooks]]\n[mail]\n" + SMALLEST)
        self.assertEqual(
            [(problem.line, problem.key) for problem in error.problems], [(1, "hooks"), (4, "mail")]
        )

    def test_lists_have_numbers(self) -> None:
        """With a home country what is no number there or elsewhere is refused in a list."""
        text = f"""{SMALLEST}
            [numbers]
            country = "ua"
            [limits]
            do_not_call = ["067 123-45-67", "+7900*", "067123", "1001"]
            [routing]
            blacklist = ["anonymous", "0441234567", "044123456"]
            """
        error = self.assertRaises(ConfigError, parse, text)
        self.assertEqual(
            [(problem.key, problem.what.split(" is ")[0]) for problem in error.problems],
            [("limits.do_not_call", "067123"), ("routing.blacklist", "044123456")],
        )

    def test_a_plus_before_a_national_number(self) -> None:
        """The dial string's plus and a number without its country are no number together."""
        text = SMALLEST.replace("PJSIP/{phone}", "PJSIP/+{phone}")
        self.assertIn("+{phone}", text)
        parse(f'{text}[numbers]\ncountry = "ua"')
        error = self.assertRaises(
            ConfigError, parse, f'{text}[numbers]\ncountry = "ua"\ndial = "national"'
        )
        self.assertEqual([problem.key for problem in error.problems], ["numbers.dial"])

    def test_beyond_loopback(self) -> None:
        """Who listens beyond loopback has to say who may ask; local sockets and loopback not."""
        somebody = '[[clients]]\nname = "crm"\nnetworks = ["10.0.0.0/8"]\n'
        parse(somebody + with_key("http.listen", '"tcp:80"'))
        for local in ("tcp:80:interface=127.0.0.2", r"tcp6:80:interface=\:\:1", "unix:/run/x"):
            parse(with_key("http.listen", f"'{local}'"))

    def test_plain_secret(self) -> None:
        """A secret is not sent in the clear to another machine."""
        parse(with_key("asterisk.auth", '"plain"'))
        elsewhere = with_key("asterisk.auth", '"plain"\nhost = "pbx.example"')
        self.assertIn("would send the secret in the clear", str(self.refused(elsewhere)))
        parse(elsewhere.replace("host =", "tls = true\nhost ="))

    def test_not_toml(self) -> None:
        """What is not TOML is refused with the place of the fault."""
        self.assertIn("c.toml: is not TOML: ", str(self.refused("[http\n")))

    def test_file(self) -> None:
        """A configuration is read from a file, and one that cannot be read is named."""
        path = Path(self.mktemp())
        path.write_text(SMALLEST)
        self.assertEqual(load(path), parse(SMALLEST))
        path.write_bytes(b'state_dir = "/\xff"')
        self.assertIn("cannot be read: ", str(self.assertRaises(ConfigError, load, path)))
        missing = self.assertRaises(ConfigError, load, Path("/nowhere/c.toml"))
        self.assertEqual(str(missing), "/nowhere/c.toml: cannot be read: No such file or directory")


class SecretTests(SynchronousTestCase):
    """Nothing that is secret is shown."""

    def test_not_in_repr(self) -> None:
        """Secret, key and the database's password are in no repr and in no short form."""
        config = parse(
            '[[clients]]\nname = "a"\nkey_sha256 = "' + "ab" * 32 + '"\n'
            '[asterisk]\nsecret = "s3cret"\nclient_channel = "SIP/{phone}"\n'
            '[database]\nurl = "postgresql://u:pa55@h:1/d?password=pa55"\n'
        )
        shown = repr(config) + config.database.shown
        for secret in ("s3cret", "abab", "pa55"):
            self.assertNotIn(secret, shown)
        self.assertEqual(config.database.shown, "postgresql://u@h:1/d")
        self.assertFalse(config.database.embedded)
        self.assertEqual(Database(url="embedded").shown, "embedded")

    def test_not_in_errors(self) -> None:
        """A wrong value that may be secret is not repeated by the error."""
        for key, value in [
            ("asterisk.secret", '"two words"'),
            ("database.url", '"postgres:pa55"'),
            ("clients", '[{name = "a", key_sha256 = "pa55"}]'),
        ]:
            error = self.assertRaises(ConfigError, parse, with_key(key, value))
            self.assertNotIn("words", str(error))
            self.assertNotIn("pa55", str(error))


class PatternTests(SynchronousTestCase):
    """What a number may be."""

    @given(st.text(max_size=70))
    def test_nothing_with_a_meaning_passes(self, value: str) -> None:
        """However loose the pattern, nothing passes that means something to a dial string."""
        if validators.Pattern(".*").matches(value):
            self.assertRegex(value, r"\A[0-9A-Za-z_*#-]{1,20}\Z")

    @given(st.from_regex(r"[0-9]{3,6}", fullmatch=True))
    def test_the_whole_value(self, value: str) -> None:
        """The pattern is asked about the whole value, and digits are ASCII digits only."""
        pattern = validators.Pattern(r"\d{3,6}")
        ascii_only = value.isascii()
        self.assertEqual(pattern.matches(value), ascii_only)
        self.assertFalse(pattern.matches(f"{value}\n"))
        self.assertFalse(pattern.matches(f"x{value}"))

    def test_repr(self) -> None:
        """A pattern shows its text."""
        self.assertEqual(repr(validators.Pattern("[0-9]+")), "Pattern('[0-9]+')")


class ShippedFileTests(SynchronousTestCase):
    """``conf/ccdaemon.toml``, the documentation of every key."""

    content = (Path(ccdaemon.__file__).parent / "conf" / "ccdaemon.toml").read_text()

    def test_complete_but_for_the_secret(self) -> None:
        """The shipped file lacks nothing but the secret."""
        error = self.assertRaises(ConfigError, parse, self.content)
        self.assertEqual([problem.key for problem in error.problems], ["asterisk.secret"])

    def test_every_key_with_its_default(self) -> None:
        """Every key stands in the file, and what is commented out is its very default."""
        uncommented = re.sub(r"^# (\[\[?[\w.]+\]\]?$|\w+ = )", r"\1", self.content, flags=re.M)
        raw = tomllib.loads(uncommented)
        for cls, table in [
            (Http, raw["http"]),
            (Client, raw["clients"][0]),
            (Asterisk, raw["asterisk"]),
            (Database, raw["database"]),
            (FastAgi, raw["fastagi"]),
            (LimitSettings, raw["limits"]),
            (Numbers, raw["numbers"]),
            (Trunk, raw["numbers"]["trunks"][0]),
            (OperatorSettings, raw["operators"]),
            (LogSettings, raw["log"]),
            (RetentionSettings, raw["retention"]),
            (RoutingSettings, raw["routing"]),
            (Hours, raw["routing"]["hours"]),
            (Webhook, raw["webhooks"][0]),
            (Config, raw),
        ]:
            with self.subTest(table=cls.__name__):
                self.assertEqual(set(table), set(attrs.fields_dict(cls)))
        without_default = (
            r"^((public_url|tls_ca|key_sha256|do_not_call_file|queue|timezone|link_secret) = .*"
            r"|(mon|tue|wed|thu|fri|sat|sun) = .*|secret = \"\""
            r"|country = .*|dial = .*|channel = .*|prefixes = .*|\[\[numbers\.trunks\]\]"
            r"|url = \"https:.*|\[routing\.hours\])$"
        )
        # The last table has no default at all; what is in it has.
        filled = uncommented.partition("[[webhooks]]")[0].replace(
            '\nsecret = ""', '\nsecret = "s3cret"', 1
        )
        config = parse(re.sub(without_default, "", filled, flags=re.M))
        self.assertEqual(
            attrs.evolve(config, clients=(LOCAL,), database=Database(url="embedded")),
            parse(SMALLEST),
        )
        (webhook,) = parse(
            f"{SMALLEST}[[webhooks]]\nurl = 'http://a'\nsecret = 'whsec_YWJj'"
        ).webhooks
        for name, shown in raw["webhooks"][0].items():
            if name not in ("url", "name", "secret", "tls_ca"):
                default = getattr(webhook, name)
                self.assertEqual(tuple(shown) if isinstance(shown, list) else shown, default, name)


class WebhookTests(SynchronousTestCase):
    """What ``[[webhooks]]`` mean."""

    def webhook(self, **keys: Any) -> Webhook:
        """Make one."""
        return Webhook(**{"url": "https://a.example/hook", "secret": ("whsec_YWJj",), **keys})

    def test_states_are_those_of_calls(self) -> None:
        """The states that can be named are all there are."""
        self.assertEqual(STATES, tuple(state.value for state in State))

    def test_secrets_and_tokens_are_not_shown(self) -> None:
        """Neither a secret nor what in an address may be a token is in what is printed."""
        webhook = self.webhook(url="https://a.example/hook/t0ken?x=s3cret")
        for shown in (repr(webhook), webhook.name, webhook.shown):
            for hidden in ("t0ken", "s3cret", "whsec"):
                self.assertNotIn(hidden, shown)
        self.assertIn("a.example", webhook.name)


class UseTests(SynchronousTestCase):
    """No key is only decoration."""

    #: Read by nobody but ``ccdaemon check`` until what a daemon missed is read up from the CEL.
    not_yet = frozenset({"cel_file"})

    def test_every_key_is_used(self) -> None:
        """Every key is read somewhere in the daemon, outside the configuration itself."""
        package = Path(ccdaemon.__file__).parent
        sources = [
            path.read_text("utf-8")
            for path in package.rglob("*.py")
            if not path.name.startswith("config") and path.parent.name != "check"
        ]
        code = "\n".join(sources)
        unused = [
            f"{cls.__name__}.{name}"
            for cls in (
                Http,
                Client,
                Asterisk,
                FastAgi,
                LimitSettings,
                Numbers,
                Trunk,
                RoutingSettings,
                Webhook,
                Config,
            )
            for name in attrs.fields_dict(cls)
            if re.search(rf"\.{name}\b", code) is None and name not in self.not_yet
        ]
        self.assertEqual(unused, [])
