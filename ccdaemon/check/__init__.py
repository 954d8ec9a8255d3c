"""``ccdaemon check``: tries what a configuration names, and says in one line each what works.

Changes nothing, dials nothing, and needs no running daemon. Run it as the user that runs the
daemon: what a file's permissions say depends on who asks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from ccdaemon.check.asterisk import try_asterisk
from ccdaemon.check.crm import try_crm
from ccdaemon.check.database import try_database
from ccdaemon.check.findings import Finding, Level
from ccdaemon.check.http import try_clients, try_http
from ccdaemon.check.limits import try_limits
from ccdaemon.check.local import try_files
from ccdaemon.check.webhooks import try_webhook
from ccdaemon.config import Config


async def find(config: Config, file: Path, reactor: object) -> list[Finding]:
    """Try everything once, the quick things first.

    :param reactor: as ``react`` gives it; TCP and time.
    """
    return [
        *try_files(config, file, os.geteuid()),
        *await try_http(config.http, reactor),
        *try_clients(config.clients),
        *try_limits(config.limits, config.numbers),
        try_database(config.database, config.state_dir),
        *await try_asterisk(config, reactor),
        *await try_crm(config, reactor),
        *[await try_webhook(webhook, reactor) for webhook in config.webhooks],
    ]


def show(findings: Sequence[Finding]) -> int:
    """Print the findings and a last line; the exit status is 1 if something fails."""
    for finding in findings:
        print(finding)
    failed = sum(finding.level is Level.FAIL for finding in findings)
    doubted = sum(finding.level is Level.WARN for finding in findings)
    if failed:
        print(f"{failed} of {len(findings)} fail; the daemon will not do its work like this.")
    elif doubted:
        print(f"Nothing fails; {doubted} to look at.")
    else:
        print("All is well.")
    return 1 if failed else 0


def check(config: Config, file: Path) -> int:
    """Try and print, in a process of its own; returns the exit status."""
    statuses: list[int] = []

    async def try_all(reactor: object) -> None:
        statuses.append(show(await find(config, file, reactor)))

    try:
        react(lambda reactor: Deferred.fromCoroutine(try_all(reactor)))
    except SystemExit as ended:
        # An error that nobody foresaw has been printed by react.
        return statuses[0] if statuses else int(bool(ended.code))
    return statuses[0]
