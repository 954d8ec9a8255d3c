"""What an AMI session may be told: who it is, and how long it waits for what.

Every wait and every bound of the client has its name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ccdaemon.ami.ami_wire import WireLimits


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AMI user.

    :param challenge: prove the secret by MD5 instead of sending it. A plain secret needs TLS.
    """

    username: str
    secret: str = field(repr=False)
    challenge: bool = True


@dataclass(frozen=True, slots=True)
class AMISettings:
    """Waits in seconds, and bounds."""

    #: From the connection to Asterisk's greeting.
    banner_timeout: float = 5.0
    #: From an action to its response: whoever asked the API is answered within ten seconds.
    action_timeout: float = 8.0
    #: From a list action to the end of its list.
    list_timeout: float = 30.0
    #: From the login to FullyBooted. A user without read class ``system`` is never told it.
    boot_wait: float = 5.0
    #: From the connection to the end of ``on_up``.
    up_timeout: float = 60.0
    #: Between an answered ping and the next one.
    ping_interval: float = 10.0
    #: From a ping to its answer; then the link counts as dead.
    ping_timeout: float = 10.0
    #: From the login to the end of a session in which something came that is no AMI, at least:
    #: whoever can put such a thing into a call's events ends no more than so many sessions.
    garbled_after: float = 10.0
    #: From an event that a phone has cut to the end of its rest, which Asterisk sends with it.
    settled_after: float = 0.1
    #: From the stop of the service to the end of a link that does not close by itself.
    stop_timeout: float = 2.0
    #: First and longest pause between two tries to connect; jitter of up to a second comes on top.
    retry_first: float = 1.0
    retry_longest: float = 30.0
    #: Pause after refused credentials, and the longest, to which it doubles: they cost Asterisk a
    #: second and count against authlimit, but a secret that is put right should work soon.
    retry_refused_first: float = 5.0
    retry_refused: float = 60.0
    #: Actions without an answer at one time.
    most_pending: int = 1000
    #: Bytes of them: what a peer that does not read can make us keep.
    most_pending_bytes: int = 1 << 20
    #: Entries of one list.
    most_entries: int = 20_000
    #: Regular expressions for ``Action: Filter``, sent after each login; they need write class
    #: ``system``, so ``eventfilter`` lines in manager.conf are the better place.
    filters: tuple[str, ...] = ()
    #: The headers of each UserEvent that the dialplan sends, in their order: one that is spelled
    #: otherwise is not believed.
    user_events: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: WireLimits = field(default_factory=WireLimits)


@dataclass(slots=True)
class AMICounters:
    """What a client has seen since it was made; read by the metrics, never reset.

    ``events`` were parsed, ``unwanted`` passed over or told to nobody; ``unmatched`` responses
    came too late, or for no action of ours. ``forged`` events were not spelled as Asterisk's are.
    """

    sessions: int = 0
    reconnects: int = 0
    failed_connects: int = 0
    refused_logins: int = 0
    garbage: int = 0
    events: int = 0
    unwanted: int = 0
    responses: int = 0
    unmatched: int = 0
    refused_actions: int = 0
    timeouts: int = 0
    subscriber_errors: int = 0
    forged: int = 0
