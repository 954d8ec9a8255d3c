"""The AMI sessions recorded on a real Asterisk 22, one call each, as they came over the wire."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "traces"
#: Beside the call, 100 qualified phones whose checks fill the stream.
NOISY = "1000-380000000000"
QUIET = (
    "1000-380000000005",
    "1000-380000000006",
    "1005-380000000000",
    "1006-380000000000",
    "1010-380000000000",
)


def recorded(name: str) -> bytes:
    """One session's bytes; the files are kept with bare line feeds."""
    return (FOLDER / f"{name}.txt").read_bytes().replace(b"\n", b"\r\n")
