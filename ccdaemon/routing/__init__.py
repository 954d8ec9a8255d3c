"""Who takes an inbound call: the CRM, the operator who spoke last, a list or a queue, or nobody.

Decides, within a bounded time; rings nobody and tells nothing.
"""

from ccdaemon.routing.decision import Routing
from ccdaemon.routing.parts import make_routing
from ccdaemon.routing.route import Caller, Passed, Route

__all__ = ["Caller", "Passed", "Route", "Routing", "make_routing"]
