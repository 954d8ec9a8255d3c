"""What can go wrong between a fact and its place in the history.

Knows neither SQLite nor Postgres: the words here are what callers act upon.
"""

from __future__ import annotations


class KeyTaken(Exception):
    """The external key of a call that was to be opened belongs to another call already.

    :param call_id: the call that has the key.
    """

    def __init__(self, call_id: int) -> None:
        super().__init__(f"the external_key belongs to call {call_id}")
        self.call_id = call_id


class CallKnown(Exception):
    """A call that was to be opened has been told: the one that began with the same channel.

    :param call_id: its number.
    """

    def __init__(self, call_id: int) -> None:
        super().__init__(f"call {call_id} began with that channel")
        self.call_id = call_id


class JournalFull(Exception):
    """Too much waits for the disk already; nothing of the append was taken."""


class JournalBroken(Exception):
    """The journal cannot be written just now.

    :param reason: why, in words for an administrator.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JournalDamaged(Exception):
    """The journal's file cannot be read; the message says what to do about it."""


class JournalTorn(JournalDamaged):
    """The same of a file that is a journal, and holds pages that are none."""


class StateDirBusy(Exception):
    """Another daemon uses this ``state_dir``.

    :param pid: its process id, or None if it left none.
    """

    def __init__(self, path: str, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{path} is in use by {holder}: one daemon per state_dir")
        self.pid = pid


class NoLease(Exception):
    """No call number is left: Postgres has not granted a lease."""


class BelowLowWatermark(Exception):
    """The journal no longer holds everything after the position that was asked for.

    :param low_watermark: the first position it can answer from.
    """

    def __init__(self, low_watermark: int) -> None:
        super().__init__(f"the journal begins after event {low_watermark}")
        self.low_watermark = low_watermark
