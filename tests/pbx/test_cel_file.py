"""The CEL file on a real disk: read on from a place, whatever logrotate does to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.pbx import cel_file
from ccdaemon.pbx.cel_file import CHUNK, Chunk, LogOffset, end, read
from tests.depth import examples

#: A moment that every file of a test is younger than, and one that none is.
BEFORE, AFTER = 0, 10**14
#: What may happen to a file but being written.
OTHER = ("read", "rename", "copy")


class FileCase(SynchronousTestCase):
    """A file that is written, turned and read."""

    def setUp(self) -> None:
        """A folder without a file."""
        self.path = Path(self.mktemp()) / "Master.csv"
        self.path.parent.mkdir()

    def write(self, text: str) -> None:
        """What Asterisk does for every row: open, append, close."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def rest(self, place: LogOffset, most: int = CHUNK) -> tuple[list[str], LogOffset]:
        """All lines since a place, and the place after them."""
        lines: list[str] = []
        while (chunk := self.on(place, most)).lines:
            lines += chunk.lines
            place = chunk.place
        self.assertEqual(chunk.place, place)
        return lines, place

    def on(self, place: LogOffset, most: int = CHUNK) -> Chunk:
        """The next lines since a place."""
        return read(self.path, place, BEFORE, most)

    def rename(self, name: str = "Master.csv.1") -> None:
        """As logrotate does by itself, the older ones first."""
        older = self.path.parent / "Master.csv.2"
        other = self.path.parent / name
        if other.exists():
            other.rename(older)
        self.path.rename(other)

    def copy_and_truncate(self) -> None:
        """As logrotate does where it is told to."""
        shutil.copyfile(self.path, self.path.parent / "Master.csv.1")
        os.truncate(self.path, 0)


class ReadTests(FileCase):
    """A file that is only written."""

    def test_no_file_yet(self) -> None:
        """Everything that comes is new, however it began."""
        place = end(self.path, BEFORE)
        self.assertEqual(self.on(place), Chunk([], place))
        self.write("one\ntwo\n")
        self.assertEqual(self.rest(place)[0], ["one", "two"])

    def test_goes_on_where_it_was(self) -> None:
        """Each line once."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.assertEqual(self.rest(place), ([], place))
        self.write("two\n")
        lines, place = self.rest(place)
        self.assertEqual(lines, ["two"])
        self.write("three\n")
        self.assertEqual(self.rest(place)[0], ["three"])

    def test_a_torn_line_waits(self) -> None:
        """Half a row is none, neither where reading begins nor where it ends."""
        self.write("one\ntw")
        place = end(self.path, BEFORE)
        self.assertEqual(place.offset, 4)
        self.assertEqual(self.rest(place), ([], place))
        self.write("o\nth")
        lines, place = self.rest(place)
        self.assertEqual(lines, ["two"])
        self.write("ree\n")
        self.assertEqual(self.rest(place)[0], ["three"])

    def test_portions(self) -> None:
        """Little is held at one time, and what is left is told."""
        self.write("".join(f"line {n}\n" for n in range(10)))
        chunk = self.on(LogOffset(0, 0, "", BEFORE), 20)
        self.assertEqual((chunk.lines, chunk.left, chunk.lost), (["line 0", "line 1"], 56, False))
        self.assertEqual(len(self.rest(chunk.place, 20)[0]), 8)

    def test_a_line_that_never_ends(self) -> None:
        """It is passed over, from its middle too, and what follows is read."""
        self.write("x" * 3 * CHUNK)
        place = end(self.path, BEFORE)
        self.write("\ntwo\n")
        self.assertEqual(self.rest(place)[0], ["", "two"])
        self.assertEqual(self.rest(LogOffset(0, 0, "", BEFORE))[0][-1], "two")

    def test_no_text(self) -> None:
        """Bytes that are no UTF-8 harm only their own line."""
        self.path.write_bytes(b"\xff\x00\xfe\n\ntwo\n")
        self.assertEqual(self.rest(LogOffset(0, 0, "", BEFORE))[0][1:], ["", "two"])

    def test_not_readable(self) -> None:
        """Is told as it is; a folder stands for a file that may not be read, also by root."""
        self.path.mkdir()
        self.assertRaises(OSError, end, self.path, BEFORE)
        self.assertRaises(OSError, self.on, LogOffset(0, 0, "", BEFORE))


class SinceTests(FileCase):
    """The place of a moment."""

    def since(self, date: int) -> list[str]:
        """What is read from a moment on."""
        return self.rest(cel_file.since(self.path, date, date_of))[0]

    def test_in_the_middle(self) -> None:
        """The first line that is not older, wherever it stands, and all behind it."""
        lines = [f"{date} {'x' * (date * 7 % 40)}\n" for date in range(10, 60, 2)]
        self.write("".join(lines))
        for date in range(8, 62):
            left = [line.strip() for line in lines if int(line[:2]) >= date]
            self.assertEqual([line.strip() for line in self.since(date)], left, date)

    def test_lines_of_no_date(self) -> None:
        """They stand where they stand, torn ones and a torn last one too."""
        self.write("10\nx\n\n12\nx\ny\n14\n16")
        self.assertEqual(self.since(12), ["x", "", "12", "x", "y", "14"])
        self.assertEqual(self.since(15), [])
        self.write("7\n18\n")
        self.assertEqual(self.since(18), ["167", "18"])

    def test_turned_since(self) -> None:
        """It is in the file that was the one then."""
        self.write("10\n12\n")
        os.utime(self.path, (1, 12 / 1000))
        self.rename("Master.csv.1")
        self.write("14\n16\n")
        self.assertEqual(self.since(11), ["12", "14", "16"])
        self.assertEqual(self.since(15), ["16"])

    def test_before_everything(self) -> None:
        """From the first line on; the place is found again after the file was turned."""
        self.write("10\n12\n")
        place = cel_file.since(self.path, 5, date_of)
        self.rename()
        self.write("14\n")
        self.assertEqual(self.rest(place)[0], ["10", "12", "14"])

    def test_no_file(self) -> None:
        """Then all of the one that Asterisk makes."""
        place = cel_file.since(self.path, 5, date_of)
        self.write("10\n")
        self.assertEqual(self.rest(place)[0], ["10"])


def date_of(line: str) -> int | None:
    """A line begins with its date, or has none."""
    first = line.partition(" ")[0].strip()
    return int(first) if first.isdigit() else None


class TurnedTests(FileCase):
    """logrotate comes between two readings."""

    def test_renamed(self) -> None:
        """The rest of the old file, then the new one."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.write("two\n")
        self.rename()
        self.assertEqual(self.rest(place)[0], ["two"])
        self.write("three\n")
        self.assertEqual(self.rest(place)[0], ["two", "three"])
        _, place = self.rest(place)
        self.write("four\n")
        self.assertEqual(self.rest(place)[0], ["four"])

    def test_renamed_twice(self) -> None:
        """All of them in their order, by whichever names."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        for turn, line in enumerate(["two\n", "three\n", "four\n"]):
            self.write(line)
            os.utime(self.path, (turn, turn))
            if line != "four\n":
                self.rename()
        (self.path.parent / "Master.csv.2").rename(self.path.parent / "Master.csv-20261122")
        self.assertEqual(self.rest(place)[0], ["two", "three", "four"])

    def test_copied_and_truncated(self) -> None:
        """The rest is in the copy, and the file begins anew under its old inode."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.write("two\n")
        self.copy_and_truncate()
        self.assertEqual(self.rest(place)[0], ["two"])
        self.write("three, and more than there was before\n")
        self.assertEqual(self.rest(place)[0], ["two", "three, and more than there was before"])

    def test_turned_while_it_was_empty(self) -> None:
        """A place at the beginning of a file: what was copied away since is read first."""
        self.path.touch()
        place = end(self.path, BEFORE)
        self.write("one\n")
        self.copy_and_truncate()
        self.write("two\n")
        self.assertEqual(self.rest(place)[0], ["one", "two"])

    def test_older_turns_stay_unread(self) -> None:
        """From a first place on nothing is read that was there before."""
        self.write("old\n")
        self.rename()
        self.path.touch()
        place = end(self.path, AFTER)
        self.write("new\n")
        self.assertEqual(self.rest(place)[0], ["new"])

    def test_the_clock_was_put_back(self) -> None:
        """What was turned at a moment that is yet to come is read all the same."""
        self.path.touch()
        place = end(self.path, int(time() * 1000) + 3_600_000)
        self.write("one\n")
        self.copy_and_truncate()
        self.write("two\n")
        self.assertEqual(self.rest(place)[0], ["one", "two"])

    def test_a_turned_file_without_an_end(self) -> None:
        """A torn last line of it is a line: nobody will write the rest."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.write("tw")
        self.rename()
        self.write("three\n")
        self.assertEqual(self.rest(place)[0], ["tw", "three"])

    def test_an_inode_comes_again(self) -> None:
        """Another file is known by what stands in it."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.path.write_text("another, and longer\n")
        self.assertEqual(os.stat(self.path).st_ino, place.inode)
        chunk = self.on(place)
        self.assertEqual((chunk.lines, chunk.lost), (["another, and longer"], True))

    def test_compressed(self) -> None:
        """Its file is gone: that is told, and what was turned later is read."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.write("two\n")
        self.rename("Master.csv.2.gz")
        self.write("three\n")
        self.rename()
        self.write("four\n")
        chunk = self.on(place)
        self.assertEqual((chunk.lines, chunk.lost), (["three"], True))
        chunk = self.on(chunk.place)
        self.assertEqual((chunk.lines, chunk.lost), (["four"], False))

    def test_gone_in_the_moment(self) -> None:
        """A file that is turned between the look and the reading is looked for again."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.write("two\n")
        files = cel_file._files

        def turned_then(path: Path) -> list[Path]:
            self.patch(cel_file, "_files", files)
            found = files(path)
            self.rename()
            return found

        self.patch(cel_file, "_files", turned_then)
        self.assertEqual(self.on(place).lines, ["two"])

    def test_gone_for_good(self) -> None:
        """A folder that cannot be made out is as one without a file."""
        self.write("one\n")
        place = end(self.path, BEFORE)
        self.patch(cel_file, "_files", lambda path: [path.parent / "nothing"])
        self.assertEqual(self.on(place), Chunk([], place))


class PropertyTests(SynchronousTestCase):
    """Whatever happens between two readings, every line is read once and in order."""

    @settings(max_examples=examples(60))
    @given(
        st.lists(
            st.one_of(
                st.text('ab"é,', max_size=30).map(lambda text: text + "\n"),
                st.text('ab"é,', min_size=1, max_size=5),
                st.sampled_from(OTHER),
            ),
            max_size=30,
        ),
        st.integers(1, 100),
    )
    def test_any_order(self, steps: list[str], spare: int) -> None:
        """Writing, tearing, turning either way, reading in portions of any size."""
        # No two rows are alike: each has its time.
        steps = [step if step in OTHER else f"{n:03}{step}" for n, step in enumerate(steps)]
        text = "".join(step for step in steps if step not in OTHER)
        most = max(len(line.encode()) for line in text.split("\n")) + spare
        with TemporaryDirectory() as folder:
            test = FileCase()
            test.path = Path(folder) / "Master.csv"
            place, lines, written, turns = end(test.path, BEFORE), [], "", 0
            for step in [*steps, "read"]:
                if step == "read":
                    more, place = test.rest(place, most)
                    lines += more
                elif step in ("rename", "copy"):
                    if not test.path.exists() or not written.endswith("\n"):
                        continue
                    turns += 1
                    os.utime(test.path, (turns, turns))
                    (test.rename if step == "rename" else test.copy_and_truncate)()
                    turned = test.path.parent / "Master.csv.1"
                    turned.rename(test.path.parent / f"Master.csv-{turns:08}")
                    os.utime(test.path.parent / f"Master.csv-{turns:08}", (turns, turns))
                else:
                    test.write(step)
                    written += step
            whole = written[: written.rfind("\n") + 1]
            self.assertEqual("".join(lines), whole.replace("\n", ""))
