"""Who takes an inbound call: the CRM, the operator who spoke last, a list or a queue, or nobody.

Decides, within a bounded time; rings nobody and tells nothing.
"""

from ccdaemon.routing.decision import Routing
from ccdaemon.routing.parts import make_routing
from ccdaemon.routing.route import Caller, Route, SkippedOperator

__all__ = ["Caller", "Route", "Routing", "SkippedOperator", "make_routing"]
