"""``python -m lab``: the lab alone, until Ctrl-C; ``python -m lab bake``: build both Debians."""

from __future__ import annotations

import signal
import sys

from lab import Unavailable
from lab.debian import SUITES, cache_folder, ensure_root
from lab.stack import Lab

_ENDS = {signal.SIGINT, signal.SIGTERM}


def main(arguments: list[str]) -> int:
    """Do it and return the exit status."""
    try:
        if arguments[:1] == ["bake"]:
            for suite in SUITES:
                print(ensure_root(suite, cache_folder()))
            return 0
        return _run(Lab())
    except Unavailable as error:
        print(f"the lab cannot be had here: {error}", file=sys.stderr)
        return 1


def _run(lab: Lab) -> int:
    lab.start()
    try:
        print(f"asterisk {lab.root.version}, {lab.root.path}{lab.asterisk.folder}")
        print(f"postgres {lab.postgres.url()}")
        for name, value in lab.asterisk_settings().items():
            print(f"{name} = {value}")
        print("Ctrl-C ends it", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        signal.sigwait(_ENDS)
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
