"""The API's port: is it free, or is it the daemon itself that has it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.web.client import Agent, readBody

from ccdaemon.check.findings import Finding, fail, ok, warn
from ccdaemon.config import Client, Http

#: Seconds until whoever has the port counts as silent.
ANSWER_TIMEOUT = 3.0


def try_clients(clients: Iterable[Client]) -> Iterator[Finding]:
    """Name the clients whom any page's browser could be taken for."""
    for client in clients:
        if client.acts_by_address:
            yield warn(
                f"client {client.name}",
                "its address alone lets it act, by a plain GET: give it a key_sha256, or get ="
                " false once it sends POST",
            )


async def try_http(http: Http, reactor: Any) -> list[Finding]:
    """Listen for a moment; where that is not possible ask who does."""
    part = f"http.listen {http.listen}"
    try:
        port = await serverFromString(reactor, http.listen).listen(Factory())
    except CannotListenError as error:
        return [await _in_use(part, error, reactor)]
    except Exception as error:
        return [fail(part, f"cannot be listened on: {error}")]
    await port.stopListening()
    return [ok(part, "is free")]


async def _in_use(part: str, error: CannotListenError, reactor: Any) -> Finding:
    reason = f"cannot be listened on: {error.socketError}"
    if not isinstance(error.port, int):
        return fail(part, reason)
    host = error.interface or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    asking = Agent(reactor, connectTimeout=ANSWER_TIMEOUT)
    url = f"http://{host}:{error.port}/".encode()
    try:
        response = await asking.request(b"GET", url).addTimeout(ANSWER_TIMEOUT, reactor)
        body = await readBody(response).addTimeout(ANSWER_TIMEOUT, reactor)
    except Exception:
        return fail(part, reason)
    # Everything that the API answers wears its envelope, an unknown path too.
    if b'"status_code":' in body:
        return warn(part, "is in use, by a ccdaemon as it seems")
    return fail(part, f"{reason}; it is some other program's")
