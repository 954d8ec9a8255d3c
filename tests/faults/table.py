"""What came of the rows: the table, and its place in the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.marks import Wrong
from tests.faults.rows import FAULTS
from tests.faults.stage import Fault

_REPORT = Path(__file__).parents[2] / "docs" / "reliability.md"
_MARKS = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = ("fault", "times injected", "calls in flight", "chains checked", "chains wrong")


@dataclass
class Result:
    """A line of the table.

    ``in_flight``: how many calls were up at each injection, by what the phones saw. ``notes``:
    what else was measured.
    """

    fault: Fault
    in_flight: list[int] = field(default_factory=list)
    checked: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """As they stand in the table."""
        flight = self.in_flight or [0]
        average = sum(flight) / len(flight)
        shown = f"{min(flight)} to {max(flight)}, {average:.0f} on average"
        chains = len({(each.call_id, each.call_id or each.name) for each in self.wrong})
        return (
            self.fault.name,
            str(len(self.in_flight)),
            shown,
            str(self.checked),
            str(chains),
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(results: Sequence[Result]) -> str:
    """The table alone."""
    return "\n".join(map(_line, (HEAD, ["---"] * len(HEAD), *(each.cells for each in results))))


@dataclass
class Report:
    """What stands in the docs, by the rows' names.

    ``lines`` of the table, ``notes`` below it, ``made``: the run that each line came of.
    """

    lines: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Report:
        """What was written before."""
        report = cls()
        for line in text.splitlines():
            if line.startswith("| "):
                report.lines[line.split(" | ")[0].removeprefix("| ")] = line
            elif line.startswith("- **"):
                name, _, note = line.removeprefix("- **").partition("**: ")
                report.notes[name] = note
            elif line.startswith("- `"):
                how, _, names = line.removeprefix("- ").rpartition(": ")
                report.made |= dict.fromkeys(names.removesuffix(".").split("; "), how)
        return report

    def add(self, results: Sequence[Result], how: str) -> None:
        """What a run gave in place of what was there of its rows."""
        for result in results:
            name = result.fault.name
            self.lines[name] = _line(result.cells)
            self.made[name] = how
            self.notes.pop(name, None)
            if result.notes:
                self.notes[name] = "; ".join(result.notes) + "."

    def __str__(self) -> str:
        """Rows that there are no more are left out."""
        known = [fault.name for fault in FAULTS if fault.name in self.lines]
        runs: dict[str, list[str]] = {}
        for name in known:
            runs.setdefault(self.made.get(name, ""), []).append(name)
        parts = [
            [_line(HEAD), _line(["---"] * len(HEAD)), *(self.lines[name] for name in known)],
            [f"- **{name}**: {self.notes[name]}" for name in known if name in self.notes],
            [f"- {how}: {'; '.join(names)}." for how, names in runs.items() if how],
        ]
        return "\n\n".join("\n".join(part) for part in parts if part)


def write(results: Sequence[Result], how: str) -> None:
    """Put the table between its marks in the docs; rows that were not run stay as they were."""
    before, rest = _REPORT.read_text("utf-8").split(_MARKS[0])
    old, after = rest.split(_MARKS[1])
    report = Report.read(old)
    report.add(results, how)
    _REPORT.write_text(f"{before}{_MARKS[0]}\n{report}\n{_MARKS[1]}{after}", "utf-8")
