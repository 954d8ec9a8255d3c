"""The lab: a real Asterisk, SIP phones and Postgres on one machine, for
demo and tests/integration.

Everything it starts listens on loopback, dies with the process that started it, and keeps its
files below one folder (``.lab`` in the checkout, or ``CCDAEMON_LAB``). It knows nothing of the
daemon but the Asterisk files in ``conf/asterisk``.

``lab.draw`` stands apart: it draws pictures of the daemon's code.
"""


class Unavailable(Exception):
    """A part of the lab cannot be had on this machine; the text says in a sentence why."""
