"""The configuration's table ``[observe]``: calls that nobody handed over."""

from __future__ import annotations

import attrs

from ccdaemon.config import validators
from ccdaemon.config.loader import key

_channel = validators.text(
    'a pattern of channel names such as "PJSIP/trunk*"', r"[A-Za-z0-9_]{1,20}/[!-~]{1,80}"
)
_context = validators.text('a pattern of contexts such as "from-pstn*"', r"[!-~]{1,80}")


@attrs.frozen(kw_only=True)
class ObserveSettings:
    """What a PBX does by itself and is told all the same; without ``trunks`` nothing is.

    ``trunks`` are patterns of the names of channels that are the world outside,
    ``inbound_contexts`` of contexts in which a client's channel begins; empty: where a number was
    dialled.
    """

    trunks: tuple[str, ...] = attrs.field(
        default=(), metadata=key(validators.several(_channel, 'patterns such as ["PJSIP/trunk*"]'))
    )
    inbound_contexts: tuple[str, ...] = attrs.field(
        default=(), metadata=key(validators.several(_context, 'patterns such as ["from-pstn*"]'))
    )
