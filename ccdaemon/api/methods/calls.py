"""The method that makes calls."""

from __future__ import annotations

from collections.abc import Sequence

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code
from ccdaemon.switchboard.call_options import CallOptions
from ccdaemon.switchboard.switchboard import Switchboard


class CallMethods:
    """Has calls made."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    async def _make_call(self, values: Values, request: ApiRequest) -> Answer:
        """Connect an operator with a client."""
        call_id = await self._switchboard.make_call(
            sip=values[p.SIP],
            phone=values[p.PHONE],
            order_id=values[p.ORDER_ID],
            external_key=values[p.EXTERNAL_KEY],
            client=request.client,
            address=request.address,
            options=CallOptions(
                caller_id=values.get(p.CALLER_ID),
                operator_timeout=values.get(p.OPERATOR_TIMEOUT),
                client_timeout=values.get(p.CLIENT_TIMEOUT),
                max_duration=values.get(p.MAX_DURATION),
                auto_answer=values[p.AUTO_ANSWER],
                record=values[p.RECORD],
                note=values.get(p.NOTE),
            ),
        )
        return Answer({"call_id": call_id})

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "makeCall",
                Permission.CALL,
                self._make_call,
                rows=(),
                acts=True,
                required=(p.SIP, p.PHONE, p.ORDER_ID, p.EXTERNAL_KEY),
                optional=(
                    p.CALLER_ID,
                    p.OPERATOR_TIMEOUT,
                    p.CLIENT_TIMEOUT,
                    p.MAX_DURATION,
                    p.AUTO_ANSWER,
                    p.RECORD,
                    p.NOTE,
                ),
                refusals=(
                    Code.PHONE_NOT_ALLOWED,
                    Code.OPERATOR_UNKNOWN,
                    Code.OPERATOR_OFFLINE,
                    Code.OPERATOR_BUSY,
                    Code.EXTERNAL_KEY_USED,
                    Code.TOO_MANY_CALLS,
                    Code.ASTERISK_UNAVAILABLE,
                    Code.ASTERISK_REFUSED,
                    Code.NOT_READY,
                ),
            ),
        )
