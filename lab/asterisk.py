"""An Asterisk of the lab: private files, private ports, a child in the foreground.

Knows how to start, ask, reload, break and end it; what its files say is in ``asterisk_files``.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab import Unavailable, asterisk_files, sip_files
from lab.asterisk_files import Ports
from lab.processes import Child, Ledger, free_port, run, wait_until
from lab.roots import Root
from lab.sip_files import Flavour

CONF = Path(__file__).parent.parent / "conf" / "asterisk"
TRUNK_HOST = "127.0.0.2"
_BOOT_TIMEOUT = 30.0
_LONGEST = 85


@dataclass
class Asterisk:
    """One Asterisk. ``name`` must be its own among those that run in the same root.

    ``conf`` is the folder with the project's Asterisk files; ``ports`` and the AMI ``secret`` are
    fresh unless given; ``trunk_port`` is where the clients' phones listen on 127.0.0.2; ``extra``
    is appended to the generated files of these names. ``globals`` are the administrator's own, in
    extensions_ccdaemon_local.conf.
    """

    root: Root
    name: str
    flavour: Flavour = "pjsip"
    conf: Path = CONF
    ports: Ports = field(default_factory=Ports.free)
    trunk_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM, TRUNK_HOST))
    secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    phone_password: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    extra: Mapping[str, str] = field(default_factory=dict)
    operators: list[str] = field(default_factory=lambda: list(sip_files.OPERATORS), repr=False)
    ledger: Ledger | None = None
    globals: dict[str, str] = field(default_factory=dict)
    _child: Child | None = field(default=None, init=False)

    @property
    def folder(self) -> PurePosixPath:
        """The instance's folder as Asterisk sees it."""
        return self.root.folder(self.name)

    @property
    def recordings_as_asterisk_sees(self) -> PurePosixPath:
        """For ``asterisk.recordings_dir``."""
        return self.folder / "spool/monitor"

    @property
    def recordings_on_host(self) -> Path:
        """For ``asterisk.recordings_mount``."""
        return self.root.on_host(self.recordings_as_asterisk_sees)

    @property
    def cel_file_on_host(self) -> Path:
        """For ``asterisk.cel_file``."""
        return self.root.on_host(self.folder / "log/cel-custom/Master.csv")

    @property
    def log_on_host(self) -> Path:
        """Asterisk's own full log."""
        return self.root.on_host(self.folder / "log/full")

    @property
    def operator_channel(self) -> str:
        """For ``asterisk.operator_channel``."""
        return "PJSIP/{sip}" if self.flavour == "pjsip" else "SIP/{sip}"

    @property
    def client_channel(self) -> str:
        """For ``asterisk.client_channel``."""
        return "PJSIP/{phone}@trunk" if self.flavour == "pjsip" else "SIP/{phone}@trunk"

    @property
    def pid(self) -> int | None:
        """The process id; None while it is stopped."""
        child = self._child
        return child.pid if child is not None and child.status is None else None

    def start(self) -> None:
        """Write the files unless they are there, start, and wait until it has fully booted.

        :raises Unavailable: it did not boot; with the end of its log.
        """
        here = self.root.on_host(self.folder)
        if not here.exists():
            self._write()
        argv = self.root.command(self.root.asterisk, "-f", "-n", "-C", self._asterisk_conf)
        self._child = Child(argv, here / "log/console", ledger=self.ledger)
        try:
            wait_until(self._has_booted, _BOOT_TIMEOUT, f"Asterisk {self.name} booted")
        except Unavailable as error:
            self.stop()
            raise Unavailable(f"{error}\n{self.tail()}") from error

    def stop(self) -> None:
        """End it as an administrator would; calls are cut."""
        if self._child is not None:
            self._child.stop(10.0)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stop and start; registrations and files are kept."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop its process (SIGSTOP): sockets stay open, nothing answers, until ``thaw``."""
        if self._child is not None:
            self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.root.on_host(self.folder), ignore_errors=True)

    def rx(self, command: str) -> str:
        """What the command line interface says. :raises Unavailable: no such Asterisk runs."""
        asterisk = self.root.asterisk
        return run(self.root.command(asterisk, "-n", "-C", self._asterisk_conf, "-rx", command))

    def reload(self) -> None:
        """Read all files again."""
        self.rx("core reload")

    def set_globals(self, **values: str) -> None:
        """Let the administrator's globals, such as CC_AGI, be these; those not named stay."""
        if self.globals | values != self.globals:
            self.globals.update(values)
            if self.pid is not None:
                self._write_globals()
                self.rx("dialplan reload")

    def set_operators(self, operators: Iterable[str]) -> None:
        """Let there be these operators' endpoints and no others, by rewriting and a reload."""
        self.operators = list(operators)
        etc = self.root.on_host(self.folder / "etc")
        name, text = sip_files.endpoints(self.flavour, self.operators, self.phone_password)
        (etc / name).write_text(text)
        self.rx("module reload res_pjsip.so" if self.flavour == "pjsip" else "sip reload")

    def set_manager_secret(self, secret: str) -> None:
        """Let the daemon's AMI user have this secret from its next login on."""
        self._write_manager(secret)
        self.rx("manager reload")

    def channels(self) -> int:
        """How many channels are up."""
        with contextlib.suppress(IndexError, ValueError):
            return int(self.rx("core show channels count").split()[0])
        return 0

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        for path in (self.log_on_host, self.root.on_host(self.folder / "log/console")):
            if path.exists() and path.stat().st_size:
                return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    @property
    def _asterisk_conf(self) -> str:
        return str(self.folder / "etc/asterisk.conf")

    def _has_booted(self) -> bool:
        if self._child is not None and self._child.status is not None:
            raise Unavailable(f"Asterisk {self.name} ended with {self._child.status}")
        try:
            return "fully booted" in self.rx("core waitfullybooted")
        except Unavailable:
            return False

    def _write(self) -> None:
        here = self.root.on_host(self.folder)
        if len(str(self.folder)) > _LONGEST:  # for its socket, run/asterisk.ctl
            raise Unavailable(f"{self.folder} is too long a path for Asterisk: set CCDAEMON_LAB")
        if self.ledger is not None:
            self.ledger.made(here)
        for name in (
            "etc",
            "run",
            "db/keys",
            "moh",
            "log/cel-custom",
            "spool/monitor",
            "spool/tmp",
        ):
            (here / name).mkdir(parents=True)
        for source in sorted(self.conf.glob("*.conf")):
            (here / "etc" / source.name).write_text(source.read_text())
        self._write_manager(self.secret)
        for name, text in asterisk_files.render(self._plan()).items():
            (here / "etc" / name).write_text(text + self.extra.get(name, ""))
        self._write_globals()
        asterisk_files.write_music(here / "moh")

    def _write_manager(self, secret: str) -> None:
        name = "manager_ccdaemon.conf"
        text = (self.conf / name).read_text().replace("@SECRET@", secret)
        self.root.on_host(self.folder / "etc" / name).write_text(text)

    def _write_globals(self) -> None:
        lines = ["[globals]", *(f"{name}={value}" for name, value in self.globals.items()), ""]
        local = self.folder / "etc/extensions_ccdaemon_local.conf"
        self.root.on_host(local).write_text("\n".join(lines))

    def _plan(self) -> asterisk_files.Plan:
        modules = self.root.modules
        return asterisk_files.Plan(
            folder=self.folder,
            module_folder=modules,
            modules=[path.name for path in self.root.on_host(PurePosixPath(modules)).glob("*.so")],
            data=self.root.data,
            ports=self.ports,
            trunk=(TRUNK_HOST, self.trunk_port),
            flavour=self.flavour,
            operators=self.operators,
            phone_password=self.phone_password,
        )
