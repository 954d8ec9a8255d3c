"""Follows the calls of one Asterisk with ``cacofonisk`` and does nothing with what it learns.

    python bench/peer.py HOST PORT USERNAME SECRET

Runs in an environment of its own, which ``bench.calls`` makes: it knows nothing of ccdaemon.
"""

import sys

from cacofonisk.reporters import BaseReporter  # type: ignore[import-not-found]
from cacofonisk.runners.ami_runner import AmiRunner  # type: ignore[import-not-found]

if __name__ == "__main__":
    host, port, username, secret = sys.argv[1:]
    AmiRunner([f"tcp://{username}:{secret}@{host}:{port}"], BaseReporter()).run()
