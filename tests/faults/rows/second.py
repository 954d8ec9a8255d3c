"""A second daemon is started beside the first."""

from __future__ import annotations

from lab.daemon import Daemon
from tests.faults.marks import Wrong
from tests.faults.stage import Fault, Stage, Steps

#: Seconds in which a daemon that must not run has ended, on a machine with much to do.
_ENDED_WITHIN = 30.0


def second_on_the_state_dir(stage: Stage) -> Steps:
    """A second daemon is started on the same state_dir."""
    yield from _second(stage, "a", {"state_dir": str(stage.daemon.state_dir)})


def second_on_the_asterisk(stage: Stage) -> Steps:
    """A second daemon is started on the same Asterisk and database, with a state_dir of its own."""
    yield from _second(stage, "b", {})


def _second(stage: Stage, name: str, other: dict[str, str]) -> Steps:
    folder = stage.daemon.folder.with_name(f"{stage.daemon.folder.name}-{name}")
    ours = {"http", "fastagi", "state_dir"}
    tables = {key: table for key, table in stage.daemon.tables.items() if key not in ours}
    stage.lab.ledger.made(folder)
    second = Daemon(folder, {**tables, **other}, stage.lab.ledger)
    second.start(wait=False)
    yield from stage.until_ended(second, _ENDED_WITHIN)
    if second.pid is not None:
        second.kill()
        what = f"it goes on beside the first\n{second.tail(30)}"
        stage.wrong.append(Wrong("second daemon", None, what))
    elif second.stop() == 0:
        stage.wrong.append(Wrong("second daemon", None, "it ended as if all were well"))


FAULTS = (
    Fault("second daemon on the state_dir", second_on_the_state_dir, 10),
    Fault("second daemon on the Asterisk", second_on_the_asterisk, 10),
)
