"""Endpoints, registrations and trunks in the files of chan_pjsip and chan_sip: text from values.

Knows who may register and where the trunks lead; does not know what the phones do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

Flavour = Literal["pjsip", "chan_sip"]
#: How channels of a driver are called.
TECHNOLOGY: Final[dict[Flavour, str]] = {"pjsip": "PJSIP", "chan_sip": "SIP"}

#: Operators with a phone: three hundreds, so that each behaviour is there three times.
WITH_PHONE = tuple(f"{hundred}{number:02}" for hundred in (10, 11, 12) for number in range(60))
#: Endpoints that no phone ever registers.
WITHOUT_PHONE = tuple(str(number) for number in range(1090, 1100))
OPERATORS = WITH_PHONE + WITHOUT_PHONE


def endpoints(flavour: Flavour, operators: Iterable[str], password: str) -> tuple[str, str]:
    """The file that holds the operators' endpoints: its name and its text."""
    if flavour == "pjsip":
        return "pjsip_operators.conf", _PJSIP_TEMPLATES + "".join(
            _PJSIP_OPERATOR.format(sip=sip, password=password) for sip in operators
        )
    return "sip_operators.conf", _SIP_TEMPLATE + "".join(
        f"[{sip}](operator)\nsecret={password}\n" for sip in operators
    )


# qualify_frequency stays 0, as an AoR has it by default: whether an operator is there is whether
# the phone is registered, and shows at once.
_PJSIP_TEMPLATES = """\
[endpoint](!)
type=endpoint
context=from-operator
disallow=all
allow=ulaw
direct_media=no
media_address=127.0.0.1
bind_rtp_to_media_address=yes

[aor](!)
type=aor
max_contacts=1
remove_existing=yes

[auth](!)
type=auth
auth_type=userpass
"""

_PJSIP_OPERATOR = """
[{sip}](endpoint)
aors={sip}
auth={sip}
[{sip}](aor)
[{sip}](auth)
username={sip}
password={password}
"""

# trunk: the clients' phones. trunk-down: an AoR nobody has registered. trunk-dead: an address
# where nobody listens. trunk-auth: knows a password, which the far end does not take.
_PJSIP = """\
[global]
type=global
user_agent=ccdaemon lab

[udp]
type=transport
protocol=udp
bind=127.0.0.1:{port}

#include "pjsip_operators.conf"

[trunk](endpoint)
context=from-client
aors=trunk
[trunk]
type=aor
contact=sip:{host}:{trunk}
[trunk]
type=identify
endpoint=trunk
match={host}

[trunk-down](endpoint)
aors=trunk-down
[trunk-down](aor)

[trunk-dead](endpoint)
aors=trunk-dead
[trunk-dead]
type=aor
contact=sip:127.0.0.1:9

[trunk-auth](endpoint)
aors=trunk
outbound_auth=trunk-auth
[trunk-auth](auth)
username=ccdaemon
password=not-this-one
"""

_SIP_TEMPLATE = """\
[operator](!)
type=friend
host=dynamic
context=from-operator
disallow=all
allow=ulaw
directmedia=no
callcounter=yes
"""

_SIP = """\
[general]
udpbindaddr=127.0.0.1:{port}
tcpenable=no
context=from-nowhere
allowguest=no
alwaysauthreject=yes
srvlookup=no
callcounter=yes
session-timers=refuse

#include "sip_operators.conf"

[trunk]
type=peer
host={host}
port={trunk}
insecure=invite,port
context=from-client
disallow=all
allow=ulaw
directmedia=no

[trunk-down](operator)
secret=no-phone-knows-it

[trunk-dead]
type=peer
host=127.0.0.1
port=9
disallow=all
allow=ulaw

[trunk-auth](trunk)
defaultuser=ccdaemon
remotesecret=not-this-one
"""


def sip_files(flavour: Flavour, port: int, trunk: tuple[str, int]) -> dict[str, str]:
    """The channel driver's own file, by name, but for the operators' endpoints."""
    host, far_port = trunk
    if flavour == "pjsip":
        return {"pjsip.conf": _PJSIP.format(port=port, host=host, trunk=far_port)}
    return {"sip.conf": _SIP.format(port=port, host=host, trunk=far_port)}


def more_trunk(flavour: Flavour, name: str, address: tuple[str, int]) -> dict[str, str]:
    """What one more trunk adds to the channel driver's file, by that file's name."""
    host, port = address
    if flavour == "pjsip":
        return {"pjsip.conf": _PJSIP_TRUNK.format(name=name, host=host, port=port)}
    return {"sip.conf": f"\n[{name}](trunk)\nhost={host}\nport={port}\ntrustrpid=yes\n"}


_PJSIP_TRUNK = """
[{name}](endpoint)
context=from-client
aors={name}
trust_id_inbound=yes
[{name}]
type=aor
contact=sip:{host}:{port}
[{name}]
type=identify
endpoint={name}
match={host}
"""
