"""The configuration's tables ``[operators]``, ``[log]`` and ``[retention]``: how long operators are
paused after a talk, what the log shows, and what is kept how long.
"""

from __future__ import annotations

import attrs

from ccdaemon.config import validators
from ccdaemon.config.loader import key

#: The journal keeps a day of its own, and a call may be long.
_DAYS = validators.whole(0, 36_500)


@attrs.frozen(kw_only=True)
class OperatorSettings:
    """What holds for every operator; ``wrap_up`` is whole seconds, 0: none."""

    wrap_up: int = attrs.field(default=0, metadata=key(validators.whole(0, 3600)))


@attrs.frozen(kw_only=True)
class LogSettings:
    """What the log shows."""

    mask_phones: bool = attrs.field(default=False, metadata=key(validators.flag))


@attrs.frozen(kw_only=True)
class RetentionSettings:
    """For how many days recordings and the history are kept; 0: for ever.

    A recording never outlives its call's history.
    """

    recordings_days: int = attrs.field(default=0, metadata=key(_DAYS))
    history_days: int = attrs.field(default=0, metadata=key(_DAYS))
