"""The command ``ccdaemon``: ``init``, ``check`` before every start, ``backup`` and ``restore``.

Knows the words of the command line and what is printed; ``ccdaemon.scaffold`` and
``ccdaemon.check`` do the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ccdaemon import __version__
from ccdaemon.config import ConfigError, load
from ccdaemon.questions import add_flags, answered
from ccdaemon.scaffold import Answers, FilesExist, write_files

_NEXT = """
Next:
  1. Look at {toml}: client_channel (how clients are dialled),
     the database's url, and what may be dialled ([limits]); the rest has defaults.
  2. Copy {folder}/asterisk/*.conf to /etc/asterisk, for the user asterisk, and include them:
       manager.conf      at the end                 #include "manager_ccdaemon.conf"
       extensions.conf   at the end                 #include "extensions_ccdaemon.conf"
       cel.conf          in the section [general]   #include "cel_ccdaemon.conf"
       cel_custom.conf   in the section [mappings]  #include "cel_custom_ccdaemon.conf"
     Then restart Asterisk; the folder /var/log/asterisk/cel-custom has to be there.
  3. ccdaemon check {toml}
  4. twistd -n ccdaemon --config {toml}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 if all is well and 1 if not."""
    parser = argparse.ArgumentParser(
        prog="ccdaemon",
        description="Prepare and check ccdaemon, which itself is run by: twistd -n ccdaemon",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    init = commands.add_parser(
        "init", help="write a configuration and the files for an Asterisk, with a fresh secret"
    )
    init.add_argument("folder", type=Path, metavar="DIR")
    add_flags(init)
    check = commands.add_parser(
        "check", help="say what is wrong with a configuration, and try what it names"
    )
    check.add_argument("file", type=Path, metavar="FILE")
    for name, words in (
        ("backup", "write journal, deliveries, Postgres and a list of the recordings to a file"),
        ("restore", "bring back what backup has written, where there is nothing yet"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("config", type=Path, metavar="CONFIG")
        command.add_argument("file", type=Path, metavar="FILE")
    parsed = parser.parse_args(arguments)
    if parsed.command == "init":
        try:
            answers = answered(parsed, input if sys.stdin.isatty() else None)
        except (EOFError, KeyboardInterrupt):
            print("\nNothing was written.", file=sys.stderr)
            return 1
        return _init(parsed.folder, answers)
    if parsed.command in ("backup", "restore"):
        return _kept(parsed.command, parsed.config, parsed.file)
    return _check(parsed.file)


def _kept(command: str, file: Path, archive: Path) -> int:
    from ccdaemon.backup import BackupFailed, back_up, restore
    from ccdaemon.store.embedded import NoPostgres

    try:
        said = {"backup": back_up, "restore": restore}[command](load(file), archive)
    except (ConfigError, BackupFailed, NoPostgres) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(said))
    return 0


def _init(folder: Path, answers: Answers) -> int:
    try:
        written = write_files(folder, answers)
    except FilesExist as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print("Written, with a fresh secret for Asterisk's manager interface:")
    for path in written:
        print(f"  {path}")
    print(_NEXT.format(folder=folder, toml=folder / "ccdaemon.toml"))
    return 0


def _check(file: Path) -> int:
    try:
        config = load(file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    from ccdaemon.check import check

    return check(config, file)
