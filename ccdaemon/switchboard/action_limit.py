"""How often somebody may act on one call, or write something on it. Pure.

Every action stays in the call's history and in each answer that shows it, so without a bound one
client could make a call that nobody can read any more.
"""

from __future__ import annotations

from ccdaemon.errors import Code, Refused

#: Actions that one call takes.
MOST_ACTIONS = 500
#: As many with those that end what another has begun, so that nobody stays on hold or muted, and
#: nothing is recorded that should not be.
MOST_WITH_ENDINGS = 600
ENDINGS = frozenset(
    {"unhold", "unmute", "transferComplete", "transferCancel", "recordPause", "recordResume"}
    | {"revokeLink"}
)


def check_actions(call_id: int, action: str, before: int) -> None:
    """Refuse an action that is one too many; hanging up never is, for it is the last.

    :param before: how many there have been.
    :raises Refused: with ``too_many_actions``.
    """
    most = MOST_WITH_ENDINGS if action in ENDINGS else MOST_ACTIONS
    if before >= most and action != "hangup":
        raise Refused(
            Code.TOO_MANY_ACTIONS,
            f"{before} things have been done to call {call_id}, and no more of these may be",
            field="call_id",
            call_id=call_id,
        )
