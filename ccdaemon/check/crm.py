"""The CRM that is asked who takes a call: does it answer, in time, and sense?"""

from __future__ import annotations

import time
from typing import Any

from ccdaemon.check.findings import Finding, fail, ok, warn
from ccdaemon.config import Config
from ccdaemon.routing import Caller
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.routing.crm import Crm, CrmLink
from ccdaemon.routing.crm_response import Advice, Reads

#: A call that there never is.
NOBODY = Caller(0, "", "")


async def try_crm(config: Config, reactor: Any) -> list[Finding]:
    """Ask it for a call 0 of nobody. Without it calls go by the next rules, so nothing fails."""
    routing = config.routing
    if routing.url is None:
        return []
    part = f"routing.url {routing.shown}"
    reads = Reads(config.asterisk.operator_pattern, routing.redirect_pattern)
    counters = RoutingCounters()
    try:
        link = CrmLink(reactor, routing)
    except (OSError, ValueError) as error:
        return [fail(part, str(error))]
    crm = Crm(link.agent, routing.url, routing.timeout, reads, reactor, counters)
    began = time.monotonic()
    advice = await crm.ask(NOBODY)
    seconds = time.monotonic() - began
    await link.stopService()
    if advice is None:
        return [warn(part, f"does not answer as it should: {crm.last_complaint}")]
    if advice.faults:
        keys = ", ".join(key for key, _ in advice.faults)
        return [warn(part, f"answers, but what it says of {keys} is not allowed")]
    return [ok(part, f"answers within {seconds:.2f} s of {routing.timeout:g} s: {_said(advice)}")]


def _said(advice: Advice) -> str:
    if advice.reject is not None:
        return "refuses an unknown caller"
    if advice.redirect is not None:
        return f"sends an unknown caller to {advice.redirect}"
    named = ", ".join("&".join(together) for together in advice.operators)
    return f"names {named}" if named else "names nobody"
