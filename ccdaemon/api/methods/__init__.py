"""The methods of the API: a module for each family, with the parts of the daemon that it needs.

Knows parameters and objects; neither HTTP nor the spelling of answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ccdaemon.api.methods.method import Method

#: The headings of the customer's brief that differ from the methods' names by more than case.
ALIASES: Mapping[str, str] = {"RecordsList": "recordList"}


class Family(Protocol):
    """Methods that need the same parts."""

    def methods(self) -> Sequence[Method]:
        """Give its table."""
        ...


def by_name(methods: Sequence[Method]) -> Mapping[str, Method]:
    """Give every method by its name, and by its alias, in lower case."""
    named = {method.name.lower(): method for method in methods}
    aliases = {alias.lower(): name.lower() for alias, name in ALIASES.items()}
    return named | {alias: named[name] for alias, name in aliases.items() if name in named}
