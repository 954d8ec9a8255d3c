"""The daemon as a child process under twistd, as an administrator runs it.

Knows the command line, the configuration file and the HTTP address; nothing of what is inside.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.processes import Child, Ledger, free_port

Table = Mapping[str, Any]
_READY_TIMEOUT = 60.0


class DaemonFailed(AssertionError):
    """The daemon ended or did not become ready; the text holds the end of its log."""


class Daemon:
    """One daemon. ``folder`` holds its configuration, ``state_dir`` and log.

    ``tables``: the configuration; ``http.listen``, ``fastagi.listen`` and ``state_dir`` are filled
    in. ``port``: where it serves HTTP, a free one unless given; ``agi``: where Asterisk asks it.
    ``environment``: what its environment has besides, from the next start on.
    """

    def __init__(
        self, folder: Path, tables: Table, ledger: Ledger | None = None, port: int | None = None
    ) -> None:
        self.folder = folder
        self.port = port or free_port(socket.SOCK_STREAM)
        self.state_dir = folder / "state"
        self.log = folder / "log"
        self._ledger = ledger
        self._child: Child | None = None
        self.environment: dict[str, str] = {}
        asked_at = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        secret = secrets.token_urlsafe(24)
        self.agi = f"{asked_at}/{secret}"
        http = {"listen": f"tcp:{self.port}:interface=127.0.0.1", **tables.get("http", {})}
        fastagi = {
            "listen": f"tcp:{asked_at.partition(':')[2]}:interface=127.0.0.1",
            "secret": secret,
        }
        self.tables: dict[str, Any] = {
            "state_dir": str(self.state_dir),
            **tables,
            "http": http,
            "fastagi": {**fastagi, **tables.get("fastagi", {})},
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        self.configure()

    @property
    def url(self) -> str:
        """Where it serves HTTP, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "ccdaemon.toml"

    @property
    def pid(self) -> int | None:
        """The process id; None while it is stopped."""
        child = self._child
        return child.pid if child is not None and child.status is None else None

    def configure(self, **tables: Mapping[str, Any]) -> None:
        """Change keys of tables in the configuration file; read at the next start."""
        for name, table in tables.items():
            self.tables[name] = {**self.tables.get(name, {}), **table}
        self.config.touch(mode=0o600)
        self.config.write_text(toml(self.tables))

    def start(self, wait: bool = True) -> None:
        """Start it; ``wait`` until it answers and has a live session with Asterisk.

        :raises DaemonFailed: it ended, or did not get so far in time.
        """
        twistd = shutil.which("twistd", path=str(Path(sys.executable).parent)) or "twistd"
        pidfile = self.folder / "twistd.pid"
        pidfile.unlink(missing_ok=True)
        argv = [sys.executable, twistd, "-n", "--pidfile", str(pidfile)]
        argv += ["ccdaemon", "--config", str(self.config)]
        here = Path(__file__).parent.parent
        # The checkout's, also where it is not installed.
        environment = {**os.environ, **self.environment}
        path = os.pathsep.join(filter(None, [str(here), environment.get("PYTHONPATH")]))
        environment["PYTHONPATH"] = path
        self._child = Child(argv, self.log, ledger=self._ledger, cwd=here, env=environment)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = _READY_TIMEOUT) -> None:
        """Wait until operators are listed, and as Asterisk says now."""
        end = time.monotonic() + timeout
        while not self.is_ready():
            if self._child is None or self._child.status is not None:
                status = self._child.status if self._child else None
                raise DaemonFailed(f"the daemon ended with {status}\n{self.tail()}")
            if time.monotonic() > end:
                raise DaemonFailed(f"the daemon was not ready in {timeout:g} s\n{self.tail()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 10.0) -> int | None:
        """SIGTERM; the exit status."""
        return self._child.stop(timeout) if self._child is not None else None

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def send(self, number: int) -> None:
        """Send a signal, such as SIGSTOP."""
        if self._child is not None:
            self._child.send(number)

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def is_ready(self) -> bool:
        """Whether it lists operators as Asterisk says now."""
        url = f"{self.url}/api/sipList.json?per_page=1"
        try:
            with urllib.request.urlopen(url, timeout=2.0) as answer:
                data = json.load(answer)["response"]["data"]
        except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
            return False
        return bool(data) and not any(operator["stale"] for operator in data)


def toml(tables: Table, within: str = "") -> str:
    """Nested mappings as TOML: values, then tables, then lists of tables."""
    lines = [f"{key} = {_value(value)}" for key, value in tables.items() if _is_plain(value)]
    for key, value in tables.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", toml(value, f"{name}.")]
        elif not _is_plain(value):
            for row in value:
                lines += ["", f"[[{name}]]", toml(row, f"{name}.")]
    return "\n".join(lines)


def _is_plain(value: object) -> bool:
    listed = isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value)
    return not listed and not isinstance(value, Mapping)


def _value(value: object) -> str:
    """A JSON string, number, boolean or list of them is the same in TOML."""
    return json.dumps(value, ensure_ascii=False)
