"""Faults of the session with Asterisk."""

from __future__ import annotations

import random
import secrets
import urllib.error
import urllib.request
from time import monotonic

from tests.faults.marks import Wrong
from tests.faults.probing import always_answered, makes_calls
from tests.faults.stage import Fault, Stage, Steps

#: What a message of AMI ends with.
END = b"\r\n\r\n"
#: Seconds that a session has to stand until a call is ended that Asterisk never heard of: so long
#: the daemon takes its operator for busy.
SETTLED = 6.5
#: Tries to log in with a secret that is refused: so many at once, and then one in so many seconds.
_FIRST_TRIES, _TRY_EVERY = 2, 5.0


@always_answered
def ami_cut(stage: Stage) -> Steps:
    """The session is reset, and no other to be had for a while."""
    stage.line.stop()
    yield stage.away()
    stage.line.start()
    yield from stage.until_ready()


@always_answered
def ami_cut_in_a_message(stage: Stage) -> Steps:
    """The session is reset in the middle of a message."""
    stage.line.cut_within(random.randrange(1, 2000))
    yield random.uniform(1.0, 3.0)
    yield from stage.until_ready()


@always_answered
def ami_half_open(stage: Stage) -> Steps:
    """Asterisk's end of the session is gone, and nobody says so."""
    stage.line.lose_far_end()
    # What is asked for until a ping is missed goes nowhere, which the daemon learns when it has a
    # session again: until then those operators are busy to it.
    yield from stage.until_lost()
    yield from stage.until_ready()
    yield 4.0


def ami_stalled(stage: Stage) -> Steps:
    """The session passes nothing on, either way, for a while."""
    with makes_calls(stage, "AMI stalled"):
        stage.line.hold()
        yield random.uniform(1.0, 6.0)
        stage.line.go_on()
        yield 2.5
        yield from stage.until_ready()


def ami_deaf(stage: Stage) -> Steps:
    """Asterisk reads nothing, though it goes on telling; in a whole run until it is given up."""
    with makes_calls(stage, "AMI deaf"):
        stage.line.hold_what_is_sent()
        yield random.uniform(12.0, 16.0) * stage.haste
        stage.line.go_on()
        yield 2.5
        yield from stage.until_ready()
        yield SETTLED


def ami_garbled(stage: Stage) -> Steps:
    """What is no AMI comes out of nowhere, between two messages or in the middle of one."""
    with makes_calls(stage, "AMI garbled"):
        between = random.random() < 0.5
        stage.line.say(random.choice(_GARBAGE)(), END if between else b"")
        yield 2.5
        yield from stage.until_ready()


def _noise() -> bytes:
    return random.randbytes(random.randrange(200, 5000))


def _nothing() -> bytes:
    return bytes(random.randrange(1, 3000))


def _no_text() -> bytes:
    return b"\xff\xfe\xc3\x28\xa0" * random.randrange(1, 500)


def _endless() -> bytes:
    return b"x" * (3 << 20)


_GARBAGE = (_noise, _nothing, _no_text, _endless)


def secret_changed(stage: Stage) -> Steps:
    """The session is cut, and the daemon's secret is another for a while."""
    asterisk, name = stage.lab.asterisk, "AMI secret changed"
    before, logged = _refused(stage), stage.daemon.log.stat().st_size
    with makes_calls(stage, name):
        asterisk.set_manager_secret(secrets.token_hex(16))
        stage.line.cut()
        since = monotonic()
        yield random.uniform(8.0, 20.0) * stage.haste
        tries = _refused(stage) - before
        most = _FIRST_TRIES + (monotonic() - since) / _TRY_EVERY
        if not 1 <= tries <= most:
            stage.wrong.append(Wrong(name, None, f"tried {tries} times to log in"))
        said = _status(stage, "/readyz"), _status(stage, "/healthz")
        if said != (503, 200):
            stage.wrong.append(Wrong(name, None, f"/readyz, /healthz: {said}"))
        if b"LoginRefused" not in stage.daemon.log.read_bytes()[logged:]:
            stage.wrong.append(Wrong(name, None, "the log does not say so"))
        asterisk.set_manager_secret(asterisk.secret)
        yield from stage.until_ready()


def _refused(stage: Stage) -> int:
    """How often Asterisk has refused a login."""
    return stage.lab.asterisk.log_on_host.read_text(errors="replace").count(
        "failed to authenticate as 'ccdaemon'"
    )


def _status(stage: Stage, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{stage.daemon.url}{path}", timeout=10.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _restore_secret(stage: Stage) -> None:
    stage.lab.asterisk.set_manager_secret(stage.lab.asterisk.secret)


FAULTS = (
    Fault("AMI cut", ami_cut, 20, unheard=8.0),
    Fault("AMI cut in a message", ami_cut_in_a_message, 20),
    Fault("AMI half-open", ami_half_open, 10, lasts=17.0, unheard=15.0),
    Fault("AMI stalled", ami_stalled, 10, unheard=6.0),
    Fault("AMI deaf", ami_deaf, 10, lasts=25.0, unheard=20.0),
    Fault("AMI garbled", ami_garbled, 20),
    Fault(
        "AMI secret changed",
        secret_changed,
        10,
        lasts=25.0,
        unheard=35.0,
        restore=_restore_secret,
    ),
)
