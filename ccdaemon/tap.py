"""What ``twistd ccdaemon`` runs: the command line, then the service made from the configuration.

Knows how a wrong configuration is told to a person; ``ccdaemon.service`` knows the parts.
"""

from __future__ import annotations

import gc
from pathlib import Path

from twisted.application.service import IService
from twisted.python import usage

from ccdaemon.config import Config, ConfigError, load
from ccdaemon.reactor import install

#: Containers more than freed until the youngest are looked through, and how often the older are.
GARBAGE = (20_000, 20, 50)

_GUIDE = """
ccdaemon stands between a CRM and an Asterisk. The CRM asks over HTTP for a call
between an operator and a client; the daemon has Asterisk ring the operator, then
the client, records the talk, and keeps the story of every call in Postgres.

Getting there:
  ccdaemon init DIR        write ccdaemon.toml and the files for your Asterisk to DIR
  ccdaemon check FILE      name everything that is wrong with a configuration, and
                           try Asterisk, Postgres and the folders that it names
  twistd -n ccdaemon --config FILE
                           run in the foreground, the log on standard output

Without -n twistd goes to the background and writes twistd.log and twistd.pid;
`twistd --help` has its options: they stand before the word ccdaemon.

Signals: TERM and INT end the daemon in seconds; talks in Asterisk go on. USR1 begins
a new log file, where twistd was given --logfile. HUP does nothing: the configuration
is read at the start.
Exit status 1: the configuration cannot be used, or another daemon has the port, the
state_dir or the Asterisk; what is wrong is on stderr or in the log.
"""


class Options(usage.Options):
    """The options after the word ``ccdaemon``; once parsed, ``config`` is there."""

    synopsis = "[options]"
    longdesc = "Calls for a CRM through Asterisk, and their whole story."
    optParameters = [["config", "c", None, "The configuration file, in TOML (required)."]]

    config: Config

    def getUsage(self, width: int | None = None) -> str:
        """Add a guide to the list of options."""
        return f"{super().getUsage(width)}{_GUIDE}"

    def postOptions(self) -> None:
        """Read the configuration before anything is started.

        :raises SystemExit: with all its problems, if it cannot be used.
        """
        if self["config"] is None:
            raise SystemExit(
                "twistd ccdaemon: --config FILE is missing (see twistd ccdaemon --help)"
            )
        try:
            self.config = load(Path(self["config"]))
        except ConfigError as error:
            raise SystemExit(str(error)) from None


def makeService(options: Options) -> IService:
    """Make the daemon; Twisted calls this once it has parsed the options."""
    install()
    # Not before: what it imports has whatever reactor there is installed.
    from ccdaemon.service import make_service

    service = make_service(options.config)
    # What is there by now stays: the collector need not look at it again and again. What comes is
    # nearly all freed by its counts, and is looked at seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    return service
