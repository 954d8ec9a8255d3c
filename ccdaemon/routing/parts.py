"""The routing, put together from the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service

from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.numbers import NO_HOME, Numbers
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.routing.crm import Crm, CrmLink
from ccdaemon.routing.crm_response import Reads
from ccdaemon.routing.decision import KnowsOperators, Routing


def make_routing(
    config: Config,
    reactor: Any,
    wall: WallClock,
    operators: KnowsOperators,
    last_operator: Callable[[str], Awaitable[str | None]],
    call_of: Callable[[str], int | None],
    numbers: Numbers = NO_HOME,
) -> tuple[Routing, list[Service]]:
    """The routing, and what of it has to be stopped at the end."""
    settings, counters = config.routing, RoutingCounters()
    reads = Reads(config.asterisk.operator_pattern, settings.redirect_pattern)
    links: list[Service] = []
    crm = None
    if settings.url is not None:
        link = CrmLink(reactor, settings)
        crm = Crm(link.agent, settings.url, settings.timeout, reads, reactor, counters)
        links.append(link)
    routing = Routing(
        settings,
        config.asterisk,
        crm,
        operators,
        last_operator,
        call_of,
        reactor,
        wall,
        counters,
        numbers,
    )
    return routing, links
