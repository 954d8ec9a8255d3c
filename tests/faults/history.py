"""What the daemon tells of all calls at the end, read as a CRM reads it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode


@dataclass
class History:
    """What the daemon says at the end: all states in their order, each call, its recordings."""

    streamed: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    records: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    repeated: int = 0


def ask(url: str, method: str, **parameters: object) -> dict[str, Any]:
    """An answer of the API, whatever it is."""
    query = urlencode({name: str(value) for name, value in parameters.items()})
    try:
        with urllib.request.urlopen(f"{url}/api/{method}.json?{query}", timeout=70) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    return answer


def fetch(url: str) -> str:
    """What is at an address, as text."""
    with urllib.request.urlopen(url, timeout=70) as response:
        text: str = response.read().decode()
    return text


def read_streamed(url: str) -> History:
    """All states, and nothing else."""
    history, cursor, ids = History(), "0", set()
    while True:
        page = ask(url, "callHistory", after=cursor, limit=1000)
        for state in page["response"]:
            history.repeated += state["event_id"] in ids
            ids.add(state["event_id"])
            history.streamed[state["call_id"]].append(state)
        if page["next"] == cursor or not page["response"]:
            break
        cursor = page["next"]
    return history


def read_history(url: str) -> History:
    """Everything, as a CRM reads it."""
    history = read_streamed(url)
    for call_id in history.streamed:
        [history.calls[call_id]] = ask(url, "callHistory", call_id=call_id)["response"]
    number, pages = 1, 1
    while number <= pages:
        page = ask(url, "recordList", page=number, per_page=1000)["response"]
        for record in page["data"]:
            history.records[record["call_id"]].append(record)
        number, pages = number + 1, page["pages"]
    return history
