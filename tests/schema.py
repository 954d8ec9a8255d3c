"""schemathesis over the API: does every answer keep to what ``/api/openapi.json`` says of it?

    python -m tests.schema                        a lab and a daemon of its own
    python -m tests.schema --examples 50          so many values of each kind, for longer
    python -m tests.schema --seed 7               the same requests again
    python -m tests.schema http://127.0.0.1:8080  that daemon's API: calls are made, and ended!

It has an environment of its own, ``.venv-schema``, since it brings thirty packages; ``make schema``
makes it, from tests/schemathesis.txt. Exit status 1: an answer was not as the document says, or was
a server's error.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from ccdaemon.api.clients import Permission
from lab.daemon import Daemon
from lab.debian import Progress
from lab.stack import Lab

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".venv-schema" / "bin" / "schemathesis"
#: A stream has no end, so nothing that waits for one can read it.
WITHOUT = "/events"
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
#: What the daemon that is asked has in its configuration: everything may be asked for.
TABLES: dict[str, Any] = {
    "clients": [
        {
            "name": "schema",
            "networks": ["127.0.0.0/8"],
            "permissions": [permission.value for permission in Permission],
        }
    ]
}
#: Seconds that an answer may take: `wait` asks for as many as 60.
_PATIENCE = 75.0


def argv(url: str, examples: int, seed: int) -> list[str]:
    """The command that asks the API at this address."""
    return [
        *(str(PROGRAM), "run", f"{url}/api/openapi.json"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
        # With several workers CPython 3.11 fails at random, in ast.parse.
        *("--seed", str(seed), "--workers", "1", "--continue-on-failure"),
        *("--exclude-path-regex", WITHOUT, "--checks", ",".join(_CHECKS)),
        *("--request-timeout", str(_PATIENCE), "--warnings", "off", "--no-color"),
    ]


def _own(examples: int, seed: int, say: Progress) -> int:
    """Ask a daemon in a lab; both go afterwards."""
    lab = Lab(progress=say)
    try:
        lab.start()
        folder = lab.ledger.path.parent.parent / "daemons" / f"schema_{lab.name}"
        lab.ledger.made(folder)
        parts = {
            "asterisk": lab.asterisk_settings(),
            "database": {"url": lab.postgres.create_database("schema")},
        }
        daemon = Daemon(folder, {**parts, **TABLES}, lab.ledger)
        daemon.start()
        try:
            return subprocess.run(argv(daemon.url, examples, seed), check=False).returncode
        finally:
            daemon.stop()
    finally:
        lab.close()


def main() -> int:
    """Ask; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.schema",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", help="of a daemon; one of its own, if none is given")
    parser.add_argument("--examples", type=int, default=15, help="values of each kind")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    if not PROGRAM.exists():
        parser.exit(2, f"{PROGRAM} is missing: `make schema` makes it\n")
    print(f"seed {asked.seed}", flush=True)
    if asked.url:
        command = argv(asked.url.rstrip("/"), asked.examples, asked.seed)
        return subprocess.run(command, check=False).returncode
    return _own(asked.examples, asked.seed, lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
