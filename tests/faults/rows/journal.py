"""Faults of the journal and its disk."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from time import time
from typing import Any

from ccdaemon.store.journal_file import NAME
from tests.faults.disk import Disk, full, unwritable
from tests.faults.history import ask
from tests.faults.marks import Wrong
from tests.faults.probing import always_answered
from tests.faults.stage import Fault, Stage, Steps

#: Seconds in which a daemon that cannot work has ended, on a machine with much to do.
_ENDED_WITHIN = 30.0
#: Bytes of a page, of the head of SQLite's log, and of a page in it with its own head.
_PAGE, _HEAD = 4096, 32
_FRAME = 24 + _PAGE
#: Pages of the log, of which one is torn: what was written in the last second or two.
_LAST_FRAMES = 40


@always_answered
def disk_full(stage: Stage) -> Steps:
    """The journal's disk takes nothing for a while."""
    with full(stage.daemon.state_dir):
        yield stage.away()
    yield 2.0


@always_answered
def not_writable(stage: Stage) -> Steps:
    """Nothing in the state_dir can be written for a while."""
    with unwritable(stage.daemon.state_dir):
        yield 1.5
        # Somebody has tried by now, and it has been noticed.
        answer = ask(stage.daemon.url, "makeCall", **_NOBODY)
        if (answer["status"], answer["status_code"]) != ("error", 503):
            _see(stage, f"makeCall is answered {answer}")
        journal = _health(stage)
        if journal["status"] != "failing" or not journal["detail"]:
            _see(stage, f"health says {journal}")
        yield random.uniform(0.0, 4.0) * stage.haste
    yield 2.0


def not_writable_at_the_start(stage: Stage) -> Steps:
    """The daemon is killed, and started where it cannot write; then once more where it can."""
    with stage.silence():
        stage.daemon.kill()
        with unwritable(stage.daemon.state_dir):
            stage.daemon.start(wait=False)
            yield from stage.until_ended(stage.daemon, _ENDED_WITHIN)
            if stage.daemon.pid is not None:
                _see(stage, "it goes on without a journal")
                stage.daemon.kill()
            elif stage.daemon.stop() == 0 or "cannot start: " not in stage.daemon.tail(3):
                _see(stage, f"it ended without a word: {stage.daemon.tail(3)}")
        yield from stage.start_again()


def power_cut(stage: Stage) -> Steps:
    """The power fails: what was not on the disk is lost; started again after a while."""
    disk = Disk(stage.daemon.state_dir)
    disk.write_unsynced()
    with stage.silence():
        stage.daemon.kill()
        if not disk.cut():
            _see(stage, "the disk has kept what it was not asked to")
        yield stage.away()
        yield from stage.start_again()


def journal_gone(stage: Stage) -> Steps:
    """The daemon is killed, and its journal is removed; started again after a while."""
    yield from _killed_and(stage, lambda: _remove(_journal_files(stage)))


def state_dir_empty(stage: Stage) -> Steps:
    """The daemon is killed, and all of its state_dir is removed; started again after a while."""
    yield from _killed_and(stage, lambda: _remove(stage.daemon.state_dir.iterdir()))


def _killed_and(stage: Stage, deed: Callable[[], object]) -> Steps:
    """What Postgres did not have by then is lost."""
    with stage.silence():
        stage.daemon.kill()
        stage.losses.append(time())
        deed()
        yield stage.away()
        yield from stage.start_again()


def journal_damaged(stage: Stage) -> Steps:
    """The daemon is killed, and a page of its journal is torn; started again after a while."""
    yield from _killed_and(stage, lambda: _tear_a_page(stage.daemon.state_dir / NAME))
    journal = _health(stage)
    if "was damaged" not in (journal["detail"] or ""):
        _see(stage, f"health says {journal}")
    if not list(stage.daemon.state_dir.glob(f"{NAME}.damaged-*")):
        _see(stage, "the damaged file is not there")


def journal_torn(stage: Stage) -> Steps:
    """The daemon is killed, and the end of its journal is torn; started again after a while."""
    yield from _killed_and(stage, lambda: _tear_the_end(stage.daemon.state_dir / f"{NAME}-wal"))


def _tear_a_page(path: Path) -> None:
    """Overwrite the half of a page of the file so that SQLite notices; all of it is in there."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    for page in random.sample(range(1, len(whole) // _PAGE), len(whole) // _PAGE - 1):
        torn = bytearray(whole)
        torn[page * _PAGE : page * _PAGE + _PAGE // 2] = random.randbytes(_PAGE // 2)
        path.write_bytes(torn)
        if _is_damaged(path):
            return
    raise AssertionError("no page of the journal is missed")


def _is_damaged(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
        try:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
        except sqlite3.DatabaseError:
            return True


def _tear_the_end(log: Path) -> None:
    """Overwrite the half of one of the last pages of the log: all from there on was never there.

    What counts of the log are the frames with the marks (salts) of its head.
    """
    data = bytearray(log.read_bytes())
    frames = range(_HEAD, len(data) - _FRAME + 1, _FRAME)
    valid = list(takewhile(lambda at: data[at + 8 : at + 16] == data[16:24], frames))
    at = random.choice(valid[-_LAST_FRAMES:]) + _FRAME - _PAGE // 2
    data[at : at + _PAGE // 2] = random.randbytes(_PAGE // 2)
    log.write_bytes(data)


def _health(stage: Stage) -> dict[str, Any]:
    parts = ask(stage.daemon.url, "health")["response"]["parts"]
    [journal] = [part for part in parts if part["name"] == "journal"]
    return dict(journal)


def _journal_files(stage: Stage) -> list[Path]:
    return list(stage.daemon.state_dir.glob(f"{NAME}*"))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


#: A call that nobody may make just now.
_NOBODY = {"sip": "1000", "phone": "380670000000", "order_id": "none", "external_key": "none"}


def _see(stage: Stage, what: str) -> None:
    stage.wrong.append(Wrong("the journal", None, what))


def _mount(stage: Stage) -> None:
    Disk(stage.daemon.state_dir).make()


def _unmount(stage: Stage) -> None:
    Disk(stage.daemon.state_dir).remove()


FAULTS = (
    Fault("journal's disk full", disk_full, 10, small_disk=True),
    Fault("state_dir not writable", not_writable, 10, prepare=_mount, restore=_unmount),
    Fault(
        "state_dir not writable at the start",
        not_writable_at_the_start,
        10,
        prepare=_mount,
        restore=_unmount,
    ),
    Fault("power cut", power_cut, 10, prepare=_mount, restore=_unmount),
    Fault("journal gone", journal_gone, 10),
    Fault("state_dir empty", state_dir_empty, 10),
    Fault("journal damaged", journal_damaged, 10),
    Fault("journal torn", journal_torn, 10),
)
