"""Recordings as files to be served: found below their folder, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from ccdaemon.calls.model import Record
from ccdaemon.errors import Code, Refused
from tests.recordings_folder import MOMENT, NAME, PATH, RecordingsTestCase
from tests.sound import tone, wav


def a_record(path: str, uniqueid: str = NAME) -> Record:
    """Make a recording of the history."""
    return Record(12, uniqueid, path, "wav", 1, 1.0, MOMENT)


class Serving(RecordingsTestCase):
    """From a recording of the history to a file."""

    def ask(self, path: str) -> Path | None:
        """Find a file in a coroutine; None where it is refused."""
        outcome: list[Path | None] = []

        async def look() -> None:
            try:
                outcome.append(await self.recordings.wav(a_record(path)))
            except Refused as refused:
                self.assertEqual(refused.code, Code.RECORD_UNKNOWN)
                outcome.append(None)

        self.successResultOf(Deferred.fromCoroutine(look()))
        return outcome[0]

    def test_a_file_that_is_there(self) -> None:
        """It is found, with every link followed."""
        file = self.write(wav(tone(1)))
        self.assertEqual(self.ask(PATH), file.resolve())

    def test_links(self) -> None:
        """A link may lead about inside the folder, and nowhere else."""
        file = self.write(wav(tone(1)))
        outside = Path(self.mktemp())
        outside.mkdir()
        (outside / "secret.wav").write_bytes(b"secret")
        os.symlink(file.resolve(), self.root / "inside.wav")
        os.symlink((outside / "secret.wav").resolve(), self.root / "outside.wav")
        os.symlink(outside.resolve(), self.root / "folder")
        os.symlink("loop.wav", self.root / "loop.wav")
        self.assertEqual(self.ask("inside.wav"), file.resolve())
        for path in ("outside.wav", "folder/secret.wav", "loop.wav"):
            self.assertIsNone(self.ask(path), path)

    def test_a_root_that_is_a_link(self) -> None:
        """The folder itself may be a link."""
        file = self.write(wav(tone(1)))
        link = Path(self.mktemp())
        os.symlink(self.root.resolve(), link)
        self.recordings._root = link
        self.assertEqual(self.ask(PATH), file.resolve())

    def test_what_is_no_file_below_the_folder(self) -> None:
        """Folders, other trees and names that cannot be are not there."""
        self.write(wav(tone(1)))
        beside = self.root.resolve().parent / (self.root.name + "x")
        beside.mkdir()
        (beside / "a.wav").write_bytes(b"x")
        for path in (
            "",
            ".",
            "2026",
            "2026/11/23/",
            "missing.wav",
            "/etc/passwd",
            "../../../../../../../../etc/passwd",
            f"../{beside.name}/a.wav",
            "a\0.wav",
            "x" * 5000,
        ):
            self.assertIsNone(self.ask(path), path)

    @given(
        st.lists(
            st.sampled_from(
                ["..", ".", "", "2026", "etc", "passwd", "/", "a.wav", "~", "\0", "\ud800"]
            ),
            max_size=8,
        )
    )
    def test_no_path_leads_out(self, parts: list[str]) -> None:
        """Whatever a path is made of, what is found lies below the folder."""
        (self.root / "a.wav").write_bytes(b"x")
        found = self.ask("/".join(parts))
        if found is not None:
            self.assertTrue(found.is_relative_to(self.root.resolve()))

    def test_as_mp3(self) -> None:
        """The recording's mp3 is named after its channel."""
        self.write(wav(tone(1)))
        made = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH)))
        self.assertEqual(self.successResultOf(made).name, f"{NAME}.mp3")

    def test_no_mp3_without_a_recording(self) -> None:
        """An mp3 that was made is not served any more when its recording is gone."""
        file = self.write(wav(tone(1)))
        self.successResultOf(Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH))))
        file.unlink()
        again = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH)))
        self.failureResultOf(again, Refused)

    def test_no_mp3_under_any_other_name(self) -> None:
        """A channel that no file can be named after has none."""
        self.write(wav(tone(1)))
        for uniqueid in ("../x", "", ".hidden", "a/b", "a\n"):
            asked = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH, uniqueid)))
            self.failureResultOf(asked, Refused)
