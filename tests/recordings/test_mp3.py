"""mp3 files on demand: made once, kept within a bound, never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.mp3 import Mp3Cache
from tests.sound import tone, unfinished, wav


class Threads:
    """Threads that work at once, or when they are told to."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []
        self.is_holding = False
        self.started: list[str] = []

    def __call__(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Do the work, or hold it."""
        self.started.append(work.__name__)
        if not self.is_holding or work.__name__ != "_encode":
            return maybeDeferred(work, *args)
        done: Deferred[Any] = Deferred()
        self.held.append(lambda: _deliver(maybeDeferred(work, *args), done))
        return done

    def release(self) -> None:
        """Do what is held."""
        held, self.held = self.held, []
        for work in held:
            work()


def _deliver(worked: Deferred[Any], done: Deferred[Any]) -> None:
    worked.chainDeferred(done)


class Cache(SynchronousTestCase):
    """The folder of mp3 files."""

    def setUp(self) -> None:
        """Have a recording and an empty folder."""
        self.folder = Path(self.mktemp())
        self.wav = Path(self.mktemp())
        self.wav.write_bytes(wav(tone(1)))
        self.threads = Threads()
        self.cache = self.new_cache()

    def new_cache(self, **options: Any) -> Mp3Cache:
        """Start over with the same folder."""
        return Mp3Cache(self.folder, self.threads, **options)

    def ask(self, name: str = "a", wav: Path | None = None) -> Deferred[Path]:
        """Ask for an mp3."""
        return Deferred.fromCoroutine(self.cache.get(name, wav or self.wav))

    def refused(self, asked: Deferred[Path]) -> Refused:
        """Take what has to be a refusal."""
        error = self.failureResultOf(asked).value
        assert isinstance(error, Refused)
        return error

    def names(self) -> list[str]:
        """List the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def test_made_once_and_kept(self) -> None:
        """The first asks for the work, the second finds it; so does the next process."""
        path = self.successResultOf(self.ask())
        self.assertEqual(path, self.folder / "a.mp3")
        # Talks are nobody's business, even where others may enter the state_dir.
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        self.assertGreater(path.stat().st_size, 3000)
        self.assertEqual(self.successResultOf(self.ask()), path)
        self.cache = self.new_cache()
        self.assertEqual(self.successResultOf(self.ask()), path)
        self.assertEqual(self.threads.started.count("_encode"), 1)
        self.assertEqual(self.names(), ["a.mp3"])

    def test_ten_ask_at_once(self) -> None:
        """Who asks while it is being made waits for the same work."""
        self.threads.is_holding = True
        asked = [self.ask() for _ in range(10)]
        self.assertEqual(len(self.threads.held), 1)
        self.threads.release()
        self.assertEqual({self.successResultOf(one) for one in asked}, {self.folder / "a.mp3"})

    def test_two_are_made_at_a_time(self) -> None:
        """More recordings wait their turn."""
        self.threads.is_holding = True
        asked = [self.ask(name) for name in "abcd"]
        self.assertEqual(len(self.threads.held), 2)
        self.threads.release()
        self.assertEqual(len(self.threads.held), 2)
        self.threads.release()
        for one in asked:
            self.successResultOf(one)

    def test_so_many_may_wait(self) -> None:
        """Beyond the bound a request is refused with the time to come again."""
        self.cache = self.new_cache(most_waiting=2)
        self.threads.is_holding = True
        asked = [self.ask("a"), self.ask("b")]
        refused = self.refused(self.ask("c"))
        self.assertEqual((refused.code, refused.retry_after), (Code.NOT_READY, 5))
        self.threads.release()
        self.successResultOf(asked[0])
        self.assertNoResult(again := self.ask("c"))
        self.threads.release()
        self.successResultOf(again)

    def test_the_least_recently_used_goes(self) -> None:
        """Within the bound everything stays; beyond it what was not wanted longest goes."""
        size = self.successResultOf(self.ask("a")).stat().st_size
        self.cache = self.new_cache(limit=3 * size)
        for order, name in enumerate("abc"):
            path = self.successResultOf(self.ask(name))
            modified = path.stat().st_mtime_ns
            os.utime(path, ns=(order, modified))
        self.assertEqual(self.names(), ["a.mp3", "b.mp3", "c.mp3"])
        used = self.successResultOf(self.ask("a"))
        self.assertEqual(used.stat().st_mtime_ns, (self.folder / "a.mp3").stat().st_mtime_ns)
        self.successResultOf(self.ask("d"))
        self.assertEqual(self.names(), ["a.mp3", "c.mp3", "d.mp3"])

    def test_use_does_not_change_the_file(self) -> None:
        """Its modification time, which clients cache by, stays what it was."""
        path = self.successResultOf(self.ask())
        os.utime(path, ns=(1, 12345))
        self.successResultOf(self.ask())
        seen = path.stat()
        self.assertEqual(seen.st_mtime_ns, 12345)
        self.assertGreater(seen.st_atime_ns, 1)

    def test_the_newest_stays_whatever_its_size(self) -> None:
        """A file larger than the bound is served, and is the only one."""
        self.cache = self.new_cache(limit=1)
        for name in "ab":
            self.assertTrue(self.successResultOf(self.ask(name)).exists())
        self.assertEqual(self.names(), ["b.mp3"])

    def test_what_no_mp3_can_be_made_of(self) -> None:
        """Everybody who waits is refused, nothing half is left, and the next one tries again."""
        broken = Path(self.mktemp())
        broken.write_bytes(unfinished(tone(1)))
        self.threads.is_holding = True
        asked = [self.ask("x", broken), self.ask("x", broken)]
        self.threads.release()
        for one in asked:
            self.assertEqual(self.refused(one).code, Code.RECORD_UNKNOWN)
        self.assertEqual(self.names(), [])
        broken.write_bytes(wav(tone(1)))
        again = self.ask("x", broken)
        self.threads.release()
        self.successResultOf(again)
        self.assertEqual(self.refused(self.ask_missing()).code, Code.RECORD_UNKNOWN)

    def ask_missing(self) -> Deferred[Path]:
        """Ask for the mp3 of a file that is not there."""
        self.threads.is_holding = False
        return self.ask("y", Path("/nonexistent/y.wav"))

    def test_a_disk_that_is_full(self) -> None:
        """A folder that cannot be written is a reason to come again later."""
        self.folder.write_text("not a folder")
        refused = self.refused(self.ask_at_not_a_folder())
        self.assertEqual((refused.code, refused.retry_after), (Code.NOT_READY, 60))

    def ask_at_not_a_folder(self) -> Deferred[Path]:
        """Ask where the folder's name is taken by a file."""
        self.cache._used = lambda name: None  # type: ignore[method-assign]
        return self.ask()

    def test_what_nobody_expected(self) -> None:
        """It is logged once, and told as an internal error."""
        self.cache._make_room = lambda newest: 1 // 0  # type: ignore[method-assign,assignment]
        self.assertEqual(self.refused(self.ask()).code, Code.INTERNAL)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping(self) -> None:
        """What is being made is broken off; stopping is over when no thread works any more."""
        self.threads.is_holding = True
        asked = self.ask()
        stopped = self.cache.stop()
        self.assertNoResult(stopped)
        self.threads.release()
        self.successResultOf(stopped)
        self.assertEqual(self.refused(asked).code, Code.NOT_READY)
        self.assertEqual(self.names(), [])
        self.successResultOf(self.new_cache().stop())

    def test_what_a_crash_left_is_removed(self) -> None:
        """Unfinished files of an earlier process go, finished ones stay."""
        self.cache.clean()
        self.successResultOf(self.ask())
        (self.folder / "b.part").write_bytes(b"half")
        self.cache.clean()
        self.assertEqual(self.names(), ["a.mp3"])
