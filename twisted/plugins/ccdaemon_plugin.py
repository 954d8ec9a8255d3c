"""Makes ``twistd ccdaemon`` known to Twisted. Everything else is in ``ccdaemon.tap``."""

from twisted.application.service import ServiceMaker

ccdaemon = ServiceMaker(
    "ccdaemon",
    "ccdaemon.tap",
    "Calls for a CRM through Asterisk, and their whole story.",
    "ccdaemon",
)
