"""What says which numbers may be dialled, and how, put together from a configuration."""

from __future__ import annotations

from typing import NamedTuple

from ccdaemon.config import Config
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.do_not_call import Listed
from ccdaemon.limits.trunks import Trunks
from ccdaemon.numbers import Number, Numbers


class Parts(NamedTuple):
    """As the service has them."""

    limits: DialLimits
    trunks: Trunks
    numbers: Numbers

    def read(self, phone: str) -> Number:
        """A number as the API reads it; what is none, as it is."""
        return self.numbers.read(phone) or Number(phone, phone)


def parts(config: Config, *do_not_call: str) -> Parts:
    """Make them."""
    numbers = Numbers(config.numbers.country, config.numbers.internal.text)
    trunks = Trunks(config.asterisk.client_channel, config.numbers, numbers)
    limits = DialLimits(config.limits, numbers, trunks, Listed(numbers, do_not_call))
    return Parts(limits, trunks, numbers)
