"""Watches an Asterisk's calls end, and answers one by FastAGI: both libraries without the daemon.

    python docs/examples/ami_and_fastagi.py \\
        tcp:127.0.0.1:5038 USER SECRET tcp:4573:interface=127.0.0.1

A dialplan reaches the script by ``AGI(agi://127.0.0.1:4573/hello)``. Ctrl-C ends it.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import react

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import Credentials
from ccdaemon.ami.ami_wire import Message
from ccdaemon.fastagi.agi_server import FastAGIFactory, FastAGIProtocol


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def ended(session: AMIProtocol, event: Message) -> None:
    """A channel has ended."""
    say(f"ended: {event.get('Channel')}: {event.get('Cause-txt')}")


async def up(session: AMIProtocol) -> None:
    """A session has begun, the first one or one after a gap: look at what is there."""
    channels = await session.coreShowChannels()
    say(f"AMI {session.version}: {len(channels)} channels")


async def hello(agi: FastAGIProtocol) -> None:
    """Answer a call, and let its dialplan go on once a key was pressed or 5 seconds have passed."""
    await agi.answer()
    say(f"call from {agi.variables['agi_callerid']} on {await agi.getVariable('CHANNEL')}")
    say(f"pressed: {await agi.waitForDigit(5)}")


async def main(reactor: Any, ami: str, user: str, secret: str, fastagi: str) -> None:
    """Run until it is ended."""
    endpoint = clientFromString(reactor, ami)
    client = AMIClient(endpoint, reactor, Credentials(user, secret), on_up=up)
    client.registerEvent("Hangup", ended)
    client.startService()
    reactor.addSystemEventTrigger("before", "shutdown", client.stopService)
    port = await serverFromString(reactor, fastagi).listen(
        FastAGIFactory({"hello": hello}, reactor)
    )
    say(f"FastAGI on port {port.getHost().port}")
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
