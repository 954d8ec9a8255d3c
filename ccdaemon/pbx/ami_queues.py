"""Queues as AMI spells them: the members, what is told of one, and how one is paused."""

from __future__ import annotations

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_wire import Message
from ccdaemon.queues import Member, Pause

#: Events that say something of a member, and that QueueStatus tells anew.
EVENTS = ("QueueMemberPause", "QueueMemberAdded", "QueueMemberRemoved")
#: Entries of QueueStatus that are taken: queues, members and clients who wait.
MOST_ENTRIES = 50_000


def member_of(event: Message) -> Member:
    """The member of whom an event, or an entry of QueueStatus, speaks."""
    # The one calls it so, the others so.
    interface = event.get("Interface") or event.get("Location")
    paused = event.get("Paused") == "1"
    reason = event.get("PausedReason") or None
    state_interface = event.get("StateInterface") or interface
    return Member(
        event.get("Queue"), interface, state_interface, Pause(paused, reason if paused else None)
    )


async def query_members(ami: AMIActions) -> list[Member]:
    """Every member of every queue.

    :raises AMIError: as the action does; a refusal where Asterisk has no queues at all.
    """
    entries = await ami.sendList("QueueStatus", most=MOST_ENTRIES)
    return [member_of(one) for one in entries if one.get("Event") == "QueueMember"]


async def pause_member(ami: AMIActions, member: Member, pause: Pause) -> None:
    """Pause a member in its queue, or take it out of its pause.

    :raises AMIError: as the action does; a refusal without the write class ``agent``.
    """
    headers = {
        "Queue": member.queue,
        "Interface": member.interface,
        "Paused": "true" if pause.paused else "false",
    }
    if pause.paused and pause.reason:
        headers["Reason"] = pause.reason
    await ami.sendAction("QueuePause", headers)
