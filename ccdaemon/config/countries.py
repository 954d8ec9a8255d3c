"""What the ordinary numbers of a country look like, and which of them cost extra. Pure data.

A number may be dialled as in the country itself (national, with its trunk prefix) or with the
country code, with or without ``00``. Short numbers, such as emergency calls, are not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Country:
    """Regular expressions in ASCII for whole numbers.

    :ivar code: the country code, for numbers with it.
    :ivar trunk: what the country dials before a national number; may be empty.
    :ivar national: an ordinary national number, without the trunk prefix.
    :ivar costly: of those, the ones that cost extra.
    """

    code: str
    trunk: str
    national: str
    costly: str

    @property
    def allowed(self) -> str:
        """Every ordinary number, however it is dialled."""
        return f"{self._prefix}(?:{self.national})"

    @property
    def forbidden(self) -> str:
        """Every number that costs extra, however it is dialled."""
        return f"{self._prefix}(?:{self.costly})"

    @property
    def _prefix(self) -> str:
        return f"(?:(?:00)?{self.code}|{self.trunk})"


#: Areas of the North American plan that are other countries and bill like them.
_ISLANDS = "242|246|264|268|284|345|441|473|649|658|664|721|758|767|784|809|829|849|868|869|876"

#: Matches no number.
_NONE = "(?!)"

COUNTRIES: Mapping[str, Country] = {
    "by": Country("375", "80", "[0-9]{9}", "90[0-9]{7}"),
    "de": Country("49", "0", "[1-9][0-9]{4,11}", "(?:900|137|138|180|118|191|192|193|194)[0-9]*"),
    "gb": Country("44", "0", "[1-3578][0-9]{8,9}", "(?:70|84|87)[0-9]*"),
    "kz": Country("7", "8", "[67][0-9]{9}", _NONE),
    "pl": Country("48", "", "[1-9][0-9]{8}", "(?:70|30|40)[0-9]{7}"),
    "ru": Country("7", "8", "(?:[349][0-9]{9}|8[0-9]{9})", "80[1235-9][0-9]{7}"),
    "ua": Country("380", "0", "[1-9][0-9]{8}", "(?:900|703)[0-9]{6}"),
    "us": Country(
        "1",
        "1?",
        "[2-9][0-9]{2}[2-9][0-9]{6}",
        f"(?:900|{_ISLANDS})[0-9]{{7}}|[0-9]{{3}}976[0-9]{{4}}",
    ),
}
