"""Faults of the clock on the daemon's wall; everybody else's goes as it should."""

from __future__ import annotations

import random
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from signal import SIGUSR2
from time import monotonic

from tests.faults.marks import Wrong
from tests.faults.probing import makes_calls
from tests.faults.rows.ami import ami_cut
from tests.faults.rows.daemon import daemon_killed
from tests.faults.stage import Fault, Stage, Steps
from tests.integration.receiver import Receiver, always, at_first

_NAME = "clock stepped"
_HOUR = 3600.0
#: Seconds in which a daemon that has a session is ready, wherever its clock was put.
_READY_WITHIN = 5.0
#: Seconds in which a state is told anew that its receiver has refused, and between two looks.
_TOLD_WITHIN, _LOOK = 15.0, 0.5
_PATH = "/hook"


def stepped(stage: Stage) -> Steps:
    """The clock is put an hour back, one forward and right again; between, a cut or a kill."""
    numbers = stage.measured.setdefault("steps", [])
    trouble = _TROUBLES[len(numbers) % len(_TROUBLES)]
    ways = random.sample((-_HOUR, _HOUR), 2)
    numbers.append(ways[0])
    yield from _live_with(stage, ways[0])
    if trouble is not None:
        yield from trouble(stage)
    yield from _live_with(stage, ways[1])
    yield from _live_with(stage, 0.0)


def _live_with(stage: Stage, ahead: float) -> Steps:
    """Put the clock so far ahead, and see what the daemon does for a while."""
    with makes_calls(stage, _NAME):
        _set(stage, ahead)
        refused = _refused(stage)
        yield random.uniform(1.0, 4.0) * stage.haste
        yield from _until(stage, lambda: _is_ready(stage), _READY_WITHIN, "it is not ready")
        yield from _until(
            stage, lambda: not refused & _refused(stage), _TOLD_WITHIN, "a webhook is not told"
        )


def _set(stage: Stage, ahead: float) -> None:
    Path(stage.daemon.environment["FAULTS_CLOCK"]).write_text(str(ahead), "ascii")
    stage.daemon.send(SIGUSR2)


def _until(stage: Stage, is_so: Callable[[], bool], within: float, words: str) -> Steps:
    end = monotonic() + within
    while not is_so():
        if monotonic() > end:
            stage.wrong.append(Wrong(_NAME, None, f"{words} {within:g} s after a step"))
            return
        yield _LOOK


def _is_ready(stage: Stage) -> bool:
    try:
        with urllib.request.urlopen(f"{stage.daemon.url}/readyz", timeout=10.0):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False


def _refused(stage: Stage) -> set[str]:
    """The states that the receiver of webhooks has refused, and was not told anew so far."""
    assert stage.refuser is not None
    ids = stage.refuser.ids(_PATH)
    return {one for one in ids if ids.count(one) == 1 and one.endswith("-1")}


def _prepare(stage: Stage) -> None:
    """Have a clock that can be set, and a receiver that refuses the first state of each call."""
    daemon, here = stage.daemon, Path(__file__).parent.parent
    clock = daemon.folder / "clock"
    clock.write_text("0.0", "ascii")
    daemon.environment["PYTHONPATH"] = str(here / "setting")
    daemon.environment["FAULTS_CLOCK"] = str(clock)
    stage.refuser = Receiver()
    stage.refuser.behave[_PATH] = at_first(1, always(500))
    secret = "whsec_bm90IGEgc2VjcmV0LCBidXQgdGhlIHNoYXBlIG9mIG9uZQ=="
    daemon.tables["webhooks"] = [
        {
            "url": stage.refuser.url(_PATH),
            "secret": secret,
            "retry_first": 2,
            "retry_longest": 4,
        }
    ]
    daemon.configure()


def _restore(stage: Stage) -> None:
    if stage.refuser is not None:
        stage.refuser.close()


_TROUBLES: tuple[Callable[[Stage], Steps] | None, ...] = (None, ami_cut, daemon_killed)

FAULTS = (
    Fault(
        _NAME,
        stepped,
        20,
        # Short of an hour: no call may be closed for what the clock says.
        tables={"limits": {"longest_ringing": 1200, "longest_talk": 1200}},
        prepare=_prepare,
        restore=_restore,
        lasts=16.0,
        unheard=8.0,
        dated=False,
    ),
)
