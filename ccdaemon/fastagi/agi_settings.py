"""What a FastAGI server may be told: how long it waits for what, and how much it keeps.

Every wait and every bound of the server has its name here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ccdaemon.fastagi.agi_wire import AGILimits


@dataclass(frozen=True, slots=True)
class AGISettings:
    """Waits in seconds, and bounds."""

    #: From the connection to the end of the environment.
    environment_timeout: float = 5.0
    #: From a command to its reply, where the command has no time of its own.
    reply_timeout: float = 10.0
    #: From the environment to the end of the script.
    script_timeout: float = 3600.0
    #: From the end of the script to the end of a link that does not close by itself.
    close_timeout: float = 5.0
    #: Commands without a reply at one time, in one session.
    most_commands: int = 100
    #: Calls inside a script at one time; one more is let go, and its dialplan goes on.
    most_sessions: int = 1000
    #: What the path of a script has to begin with, as in ``agi://host/SECRET/incoming``; None:
    #: nothing.
    secret: str | None = field(default=None, repr=False)
    limits: AGILimits = field(default_factory=AGILimits)


@dataclass(slots=True)
class AGICounters:
    """What a server has seen since it was made; read by the metrics, never reset.

    :ivar observe: told of each script that is over, its path and how many seconds it took.
    """

    sessions: int = 0
    strangers: int = 0
    too_many: int = 0
    unknown_scripts: int = 0
    script_errors: int = 0
    timeouts: int = 0
    garbage: int = 0
    observe: Callable[[str, float], None] = lambda _path, _seconds: None
