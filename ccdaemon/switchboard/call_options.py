"""What a CRM may ask of one call beside who talks with whom, and how the dialplan is told.

Knows channel variables; makes no calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ccdaemon.config import Config
from ccdaemon.errors import Code, Refused
from ccdaemon.pbx.dialplan import Variable
from ccdaemon.switchboard.ring import Ring

#: What makes an operator's phone pick up by itself: makers of phones follow the one or the other.
AUTO_ANSWER = {
    "Call-Info": "<sip:ccdaemon>;answer-after=0",
    "Alert-Info": "<http://ccdaemon>;info=alert-autoanswer;delay=0",
}


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The optional parameters of makeCall; None: as configured. Times are whole seconds.

    ``max_duration`` is how long the two may talk, ``record`` False: the talk is not recorded.
    """

    caller_id: str | None = None
    operator_timeout: int | None = None
    client_timeout: int | None = None
    max_duration: int | None = None
    auto_answer: bool = False
    record: bool = True
    note: str | None = None

    def refuse_stranger(self, config: Config) -> None:
        """Refuse a number that clients may not be shown.

        :raises Refused: with ``bad_parameter``.
        """
        allowed = {config.asterisk.caller_id, *config.asterisk.caller_ids}
        if self.caller_id is not None and self.caller_id not in allowed:
            raise Refused(
                Code.BAD_PARAMETER,
                "caller_id must be one of asterisk.caller_ids in the configuration",
                field="caller_id",
            )

    def variables(self, config: Config, ring: Ring) -> Mapping[str, str]:
        """The channel variables that say so; set before the operator's phone rings.

        :param ring: how it is rung.
        """
        asterisk = config.asterisk
        shown = asterisk.caller_id if self.caller_id is None else self.caller_id
        return {
            ring.own(Variable.TIMEOUT): str(self.client_timeout or asterisk.client_timeout),
            ring.own(Variable.CALLERID): shown,
            Variable.LONGEST.inherited: str(self.max_duration or ""),
            Variable.ANNOUNCE.inherited: asterisk.announce,
            **(self._headers(ring) if self.auto_answer else {}),
        }

    def _headers(self, ring: Ring) -> Mapping[str, str]:
        if ring.together:
            # Each phone gets them from the dialplan that rings it.
            return {ring.own(Variable.AUTO_ANSWER): "1"}
        if ring.channel.startswith("PJSIP/"):
            return {f"PJSIP_HEADER(add,{name})": value for name, value in AUTO_ANSWER.items()}
        named = enumerate(AUTO_ANSWER.items(), 1)
        return {f"SIPADDHEADER{number:02}": f"{name}: {value}" for number, (name, value) in named}


NO_OPTIONS = CallOptions()
