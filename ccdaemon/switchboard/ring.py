"""How an operator is rung by Originate, which rings one channel: one phone, or all they have.

Pure: dial strings in, what Originate is told out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ccdaemon.pbx.dialplan import Context, Variable

#: The channel that rings them: half of it rings, and both are gone once somebody has picked up.
CHANNEL = f"Local/s@{Context.RING}/n"


@dataclass(frozen=True, slots=True)
class Ring:
    """Phones of one operator, and the context in which the one that is picked up goes on.

    :param phones: dial strings.
    :param together: whether more than one may ring.
    """

    phones: tuple[str, ...]
    after: Context
    together: bool

    @property
    def channel(self) -> str:
        """What Originate is to ring."""
        return CHANNEL if self.together else self.phones[0]

    @property
    def context(self) -> Context:
        """Where that channel goes on."""
        return Context.RING if self.together else self.after

    @property
    def exten(self) -> str:
        """At which extension."""
        return "over" if self.together else "s"

    @property
    def variables(self) -> Mapping[str, str]:
        """What the dialplan that rings them is told."""
        if not self.together:
            return {}
        return {Variable.PHONES: "&".join(self.phones), self.own(Variable.AFTER): self.after}

    def own(self, variable: Variable) -> str:
        """How a variable is set that the phone's own channel has to have."""
        return variable.handed_on if self.together else variable
