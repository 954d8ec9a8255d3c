"""What all phones saw."""

from __future__ import annotations

from collections import defaultdict

from lab.phones import PhoneEvent
from lab.stack import Lab


class Phones:
    """What all phones saw, by the client's number."""

    def __init__(self, lab: Lab) -> None:
        self.clients: dict[str, list[PhoneEvent]] = defaultdict(list)
        self.operators: dict[str, dict[str, list[PhoneEvent]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for event in lab.clients.events():
            self.clients[event.number].append(event)
        dialogs: dict[str, list[PhoneEvent]] = defaultdict(list)
        for event in lab.operators.events():
            dialogs[event.call_id].append(event)
        for dialog in dialogs.values():
            shown = next((event.detail for event in dialog if event.event == "invite"), "")
            caller = shown.partition("<sip:")[2].partition("@")[0]
            self.operators[caller][dialog[0].number] += dialog
