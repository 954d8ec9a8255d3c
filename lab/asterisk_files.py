"""What the files of a lab's Asterisk say: text from values, nothing is run.

Knows Asterisk's configuration; the project's own files are included, not known.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

from lab.audio import tone
from lab.processes import free_port
from lab.sip_files import TECHNOLOGY, Flavour, endpoints, sip_files

#: Modules that open sockets, want files of their own, or have no part in a call.
_NEVER = (
    *("*_odbc*", "*_pgsql*", "*_radius*", "*_tds*", "*_ldap*", "*sqlite3_custom*", "res_config_*"),
    *("res_ari*", "res_http*", "res_xmpp*", "res_calendar*", "res_snmp*", "res_prometheus*"),
    *("res_phoneprov*", "res_hep*", "res_statsd*", "res_stun*", "res_aeap*", "res_speech_aeap*"),
    *("res_stir_shaken*", "res_geolocation*", "res_smdi*", "res_adsi*", "res_resolver_unbound*"),
    *("res_websocket*", "res_pjsip_stir*", "res_pjsip_geolocation*", "res_pjsip_phoneprov*"),
    *("res_pjsip_transport_websocket*", "res_pjsip_config_wizard*", "res_pjsip_notify*"),
    *("res_corosync*", "res_clialiases*", "res_chan_stats*", "res_endpoint_stats*"),
    *("chan_iax2*", "chan_unistim*", "chan_motif*", "chan_websocket*", "chan_console*"),
    *("chan_mgcp*", "chan_skinny*", "chan_oss*", "chan_alsa*", "chan_phone*", "chan_mobile*"),
    *("chan_ooh323*", "chan_dahdi*", "chan_audiosocket*", "pbx_dundi*", "pbx_lua*", "pbx_ael*"),
    *("app_voicemail*", "app_minivm*", "app_agent_pool*", "app_amd*", "app_festival*"),
    *("app_jack*", "app_adsiprog*", "app_getcpeid*", "app_alarmreceiver*", "app_meetme*"),
    *("app_confbridge*", "app_followme*", "app_page*", "app_sla*"),
    *("app_stasis*", "res_stasis_broadcast*", "cdr_*", "cel_manager*"),
)
_OTHER = {
    "pjsip": ("chan_sip.so",),
    "chan_sip": ("chan_pjsip.so", "res_pjsip*.so", "func_pjsip*.so"),
}


#: A second AMI user, and the secret as well.
CROWD: Final = "crowd"


@dataclass(frozen=True)
class Ports:
    """Ports on 127.0.0.1: SIP (UDP), AMI (TCP), and the first of the RTP ports (UDP)."""

    sip: int
    ami: int
    rtp: int

    RTP_COUNT = 800

    @staticmethod
    def free() -> Ports:
        """Ports that nobody has just now."""
        return Ports(
            sip=free_port(socket.SOCK_DGRAM),
            ami=free_port(socket.SOCK_STREAM),
            rtp=random.randrange(10_000, 20_000, Ports.RTP_COUNT),
        )


@dataclass(frozen=True)
class Plan:
    """What the files are about. ``modules`` are the names of the modules that are there."""

    folder: PurePosixPath
    module_folder: str
    modules: Collection[str]
    data: str
    ports: Ports
    trunk: tuple[str, int]
    flavour: Flavour
    operators: Sequence[str]
    phone_password: str


def render(plan: Plan) -> dict[str, str]:
    """The generated files, by name."""
    name, operators = endpoints(plan.flavour, plan.operators, plan.phone_password)
    technology = TECHNOLOGY[plan.flavour]
    return {
        "asterisk.conf": _asterisk_conf(plan),
        "modules.conf": _modules_conf(plan),
        "logger.conf": _LOGGER,
        "manager.conf": _MANAGER.format(port=plan.ports.ami, crowd=CROWD),
        "extensions.conf": _EXTENSIONS.replace("TECHNOLOGY", technology),
        "queues.conf": "[general]\n" + "".join(_queue(name, technology) for name in QUEUES),
        "rtp.conf": f"[general]\nrtpstart={plan.ports.rtp}\n"
        f"rtpend={plan.ports.rtp + Ports.RTP_COUNT - 1}\nstrictrtp=no\n",
        "musiconhold.conf": f"[default]\nmode=files\ndirectory={plan.folder}/moh\n",
        "indications.conf": "[general]\ncountry=us\n[us]\ndescription=US\n"
        "ringcadence=2000,4000\ndial=350+440\nbusy=480+620/500,0/500\nring=440+480/2000,0/4000\n"
        "congestion=480+620/250,0/250\n",
        **{f"{bare}.conf": "[general]\n" for bare in _BARE},
        "acl.conf": "",
        "cel.conf": '[general]\n#include "cel_ccdaemon.conf"\n',
        "cel_custom.conf": '[mappings]\n#include "cel_custom_ccdaemon.conf"\n',
        **sip_files(plan.flavour, plan.ports.sip, plan.trunk),
        name: operators,
    }


#: Files that only have to exist.
_BARE = ("ccss", "cdr", "features", "pjproject", "res_parking", "udptl")

_LOGGER = """\
[general]
dateformat=%F %T.%3q
[logfiles]
full => notice,warning,error,verbose(3)
"""

_MANAGER = """\
[general]
enabled=yes
timestampevents=yes
webenabled=no
bindaddr=127.0.0.1
port={port}

#include "manager_ccdaemon.conf"

; May say what it likes, and nothing else.
[{crowd}]
secret={crowd}
deny=0.0.0.0/0.0.0.0
permit=127.0.0.1/255.255.255.255
write=user
"""

_EXTENSIONS = """\
[general]
static=yes
writeprotect=yes

[globals]

#include "extensions_ccdaemon.conf"

; The client calls in.
[from-client]
include => ccdaemon-inbound

; An operator dials by hand.
[from-operator]
include => ccdaemon-dialout

; Where the CRM may send callers: the numbers of operators.
[from-crm]
exten => _1XXX,1,Dial(TECHNOLOGY/${EXTEN},10)
"""

#: The queues, and their members, who are rung one after the other. Of "slow" the first never
#: answers.
QUEUES: Final = {"sales": ("1055", "1056"), "slow": ("1106", "1057")}


def _queue(name: str, technology: str) -> str:
    members = "".join(f"member={technology}/{sip}\n" for sip in QUEUES[name])
    return f"[{name}]\nstrategy=linear\ntimeout=3\nretry=1\nringinuse=no\n{members}"


def _asterisk_conf(plan: Plan) -> str:
    folders = {
        "astetcdir": f"{plan.folder}/etc",
        "astmoddir": plan.module_folder,
        "astvarlibdir": f"{plan.folder}/db",
        "astdbdir": f"{plan.folder}/db",
        "astkeydir": f"{plan.folder}/db",
        "astcachedir": f"{plan.folder}/db",
        "astdatadir": plan.data,
        "astagidir": f"{plan.folder}/db",
        "astspooldir": f"{plan.folder}/spool",
        "astrundir": f"{plan.folder}/run",
        "astlogdir": f"{plan.folder}/log",
    }
    lines = [f"{name} => {folder}" for name, folder in folders.items()]
    return "\n".join(["[directories]", *lines, "", "[options]", "verbose=3", ""])


def _modules_conf(plan: Plan) -> str:
    unwanted = [
        name
        for name in sorted(plan.modules)
        if any(fnmatch(name, pattern) for pattern in (*_NEVER, *_OTHER[plan.flavour]))
    ]
    return "\n".join(["[modules]", "autoload=yes", *(f"noload={name}" for name in unwanted), ""])


def write_music(folder: Path) -> None:
    """Music on hold: a note that no phone of the lab plays."""
    (folder / "hold.ulaw").write_bytes(tone(300, 2.0))
