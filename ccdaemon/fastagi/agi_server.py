"""A FastAGI server: Asterisk connects, and an ``async def`` script talks to the call.

Knows no script, only how to find one by its path. The caller hears nothing while a script thinks,
so every wait has an end here, and whatever goes wrong closes the link: then the dialplan goes on.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.fastagi.agi_commands import (
    AGIBusy,
    AGIClosed,
    AGICommandFailure,
    AGICommands,
    AGIError,
    AGITimeout,
)
from ccdaemon.fastagi.agi_wire import (
    AGIHangup,
    AGILimits,
    AGIMessage,
    AGIParser,
    AGIWireError,
    BadCommand,
    Environment,
    NotAGI,
    Reply,
    encode_command,
)


@dataclass(frozen=True, slots=True)
class AGISettings:
    """Waits in seconds, and bounds."""

    #: From the connection to the end of the environment.
    environment_timeout: float = 5.0
    #: From a command to its reply, where the command has no time of its own.
    reply_timeout: float = 10.0
    #: From the environment to the end of the script.
    script_timeout: float = 3600.0
    #: From the end of the script to the end of a link that does not close by itself.
    close_timeout: float = 5.0
    #: Commands without a reply at one time, in one session.
    most_commands: int = 100
    #: Calls inside a script at one time; one more is let go, and its dialplan goes on.
    most_sessions: int = 1000
    #: What the path of a script has to begin with, as in ``agi://host/SECRET/incoming``; None:
    #: nothing.
    secret: str | None = field(default=None, repr=False)
    limits: AGILimits = field(default_factory=AGILimits)


@dataclass(slots=True)
class AGICounters:
    """What a server has seen since it was made; read by the metrics, never reset.

    :ivar observe: told of each script that is over, its path and how many seconds it took.
    """

    sessions: int = 0
    strangers: int = 0
    too_many: int = 0
    unknown_scripts: int = 0
    script_errors: int = 0
    timeouts: int = 0
    garbage: int = 0
    observe: Callable[[str, float], None] = lambda _path, _seconds: None


#: Talks to one call. When it returns or raises, the dialplan goes on.
Script = Callable[["FastAGIProtocol"], Coroutine[Any, Any, None]]
#: The script for a path such as ``incoming``, None if there is none.
FindScript = Callable[[str], Script | None]
_ANSWERED = re.compile(rb"(?:\A|\n)200 result=")


class _Command:
    """One command, its reply, and its timer from the moment it is written."""

    reply: Deferred[Reply]

    def __init__(self, verb: str, data: bytes, timeout: float) -> None:
        self.verb = verb
        self.data = data
        self.timeout = timeout
        self.timer: IDelayedCall | None = None

    def succeed(self, reply: Reply) -> None:
        if self._settled():
            self.reply.callback(reply)

    def fail(self, error: AGIError) -> None:
        if self._settled():
            self.reply.errback(error)

    def _settled(self) -> bool:
        """Whether somebody still waits; the timer ends either way."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        return not self.reply.called


class FastAGIProtocol(Protocol, AGICommands):
    """One call inside a script.

    :ivar environment: what Asterisk said about the call; there once the script runs.
    :ivar hung_up: whether the caller has hung up.
    :ivar on_hangup: called when the caller hangs up; set it in the script.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        find_script: FindScript,
        settings: AGISettings | None = None,
        counters: AGICounters | None = None,
        sessions: set[FastAGIProtocol] | None = None,
        refusal: tuple[str, str] | None = None,
    ) -> None:
        self.settings = settings or AGISettings()
        self.counters = counters or AGICounters()
        self.environment: Environment | None = None
        self.hung_up = False
        self.on_hangup: Callable[[], object] | None = None
        self._clock = clock
        self._find_script = find_script
        self._sessions = set() if sessions is None else sessions
        self._parser = AGIParser(self.settings.limits)
        self._commands: deque[_Command] = deque()
        self._script: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None
        self._closed = False
        self._refusal = encode_command("SET VARIABLE", *refusal) if refusal else None
        self._refused = False

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment by name, as in starpy."""
        return self.environment.values if self.environment else {}

    def sendCommand(
        self, verb: str, *arguments: str, timeout: float | None = None
    ) -> Deferred[Reply]:
        if self._closed or self.transport is None:
            return fail(AGIClosed(f"{verb}: the call's link is closed"))
        if len(self._commands) >= self.settings.most_commands:
            return fail(AGIBusy(f"{verb}: {len(self._commands)} commands are without reply"))
        try:
            data = encode_command(verb, *arguments)
        except BadCommand:
            return fail()
        command = _Command(verb, data, self.settings.reply_timeout if timeout is None else timeout)
        command.reply = Deferred(lambda _: self._forget(command))
        self._commands.append(command)
        if len(self._commands) == 1:
            self._write(command)
        return command.reply

    def finish(self) -> None:
        """Ends the conversation; the dialplan goes on. A script need not call it."""
        if not self._closed:
            self._lose()

    def cancel(self) -> None:
        """Cancels the script, and so ends the conversation."""
        self.finish()
        if self._script is not None:
            self._script.cancel()

    def connectionMade(self) -> None:
        """Waits for the environment."""
        self._sessions.add(self)
        self.counters.sessions += 1
        seconds = self.settings.environment_timeout
        self._set_deadline(seconds, self._time_out, "environment", seconds)

    def dataReceived(self, data: bytes) -> None:
        """Reads at once; after the end of the conversation nothing is read any more."""
        if self._refused and _ANSWERED.search(data):
            self._lose()
        if self._closed:
            return
        try:
            for message in self._parser.feed(data):
                if not self._closed:
                    self._take(message)
            if self._parser.error is not None:
                raise self._parser.error
        except AGIWireError as error:
            self.counters.garbage += 1
            self.log.error("FastAGI: what the peer sent is no AGI: {reason}", reason=str(error))
            if self._refusal is not None and self._parser.begun:
                self._refuse(self._refusal)
            else:
                self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fails whatever waits, then cancels the script."""
        self._closed = True
        self._sessions.discard(self)
        self._set_deadline(None)
        self._fail_commands(reason.getErrorMessage())
        if self._script is not None:
            self._script.cancel()

    def _take(self, message: AGIMessage) -> None:
        if isinstance(message, Environment):
            self._start(message)
        elif isinstance(message, AGIHangup):
            self._note_hangup()
        else:
            self._settle(message)

    def _settle(self, reply: Reply) -> None:
        if not self._commands:
            raise NotAGI("a reply to no command")
        command = self._commands.popleft()
        if self._commands:
            self._write(self._commands[0])
        if reply.code != 200 or reply.result.startswith("-"):
            command.fail(AGICommandFailure(command.verb, reply))
        else:
            command.succeed(reply)

    def _write(self, command: _Command) -> None:
        """Sends one command, never two: Asterisk may not look at the second before a third."""
        command.timer = self._clock.callLater(command.timeout, self._command_late, command)
        cast(ITCPTransport, self.transport).write(command.data)

    def _forget(self, command: _Command) -> None:
        """A command that is cancelled after it was written is still answered: it stays."""
        if command.timer is None:
            self._commands.remove(command)

    def _note_hangup(self) -> None:
        self.hung_up = True
        if self.on_hangup is not None:
            try:
                self.on_hangup()
            except Exception:
                self.log.failure("FastAGI: on_hangup raised")

    def _start(self, environment: Environment) -> None:
        self.environment = environment
        self._set_deadline(None)
        path = self._path_of(environment.script)
        if path is None:
            self.counters.strangers += 1
            self.log.warn("FastAGI: somebody asks without the secret")
            # Not refused: where the two configurations differ callers are to reach somebody.
            self.finish()
            return
        script = self._find_script(path)
        if script is None:
            self.counters.unknown_scripts += 1
            self.log.warn("FastAGI: no script {path!r}", path=path)
            if self._refusal is not None:
                self._refuse(self._refusal)
            else:
                self.finish()
            return
        seconds = self.settings.script_timeout
        self._script = Deferred.fromCoroutine(script(self))
        self._script.addTimeout(seconds, self._clock, self._script_late)
        self._script.addErrback(self._script_failed, path)
        self._script.addBoth(self._script_over, path, self._clock.seconds())

    def _path_of(self, script: str) -> str | None:
        """The script's path without the secret, which is neither logged nor counted by."""
        secret = self.settings.secret
        if secret is None:
            return script
        shown, _, path = script.partition("/")
        return path if compare_digest(shown.encode(), secret.encode()) else None

    def _script_over(self, _: object, path: str, began: float) -> None:
        self.counters.observe(path, self._clock.seconds() - began)
        self.finish()

    def _script_late(self, _: object, seconds: float) -> Failure:
        return Failure(AGITimeout(f"the script did not end within {seconds:g} s"))

    def _script_failed(self, failure: Failure, path: str) -> None:
        if failure.check(AGIError, CancelledError) and (self._closed or self.hung_up):
            self.log.debug("FastAGI: the call left script {path!r}", path=path)
            return
        self.counters.script_errors += 1
        self.log.failure("FastAGI: script {path!r} failed", failure, path=path)

    def _command_late(self, command: _Command) -> None:
        self._time_out(command.verb, command.timeout)
        command.fail(AGITimeout(f"{command.verb}: no reply within {command.timeout:g} s"))

    def _time_out(self, awaited: str, seconds: float) -> None:
        self.counters.timeouts += 1
        self.log.warn("FastAGI: no {awaited} within {seconds} s", awaited=awaited, seconds=seconds)
        self._abort()

    def _refuse(self, refusal: bytes) -> None:
        """Tells the dialplan that this call is refused, whatever else was on its way.

        A link that is only closed looks to the dialplan as if nobody had decided.
        """
        self._closed = self._refused = True
        self._fail_commands("the call is refused")
        if self._script is not None:
            self._script.cancel()
        cast(ITCPTransport, self.transport).write(refusal)
        self._set_deadline(self.settings.reply_timeout, self._lose)

    def _fail_commands(self, reason: str) -> None:
        commands, self._commands = self._commands, deque()
        for command in commands:
            command.fail(AGIClosed(f"{command.verb}: {reason}"))

    def _lose(self) -> None:
        self._closed, self._refused = True, False
        cast(ITCPTransport, self.transport).loseConnection()
        self._set_deadline(self.settings.close_timeout, self._abort)

    def _abort(self) -> None:
        self._closed = True
        self._set_deadline(None)
        cast(ITCPTransport, self.transport).abortConnection()

    def _set_deadline(self, seconds: float | None, *call: Any) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._clock.callLater(seconds, *call)


class FastAGIFactory(Factory):
    """Finds a script for every call that Asterisk brings.

    :param scripts: by path, or a function from a path to a script or None.
    :param admits: whether somebody at this host may connect; None: whoever reaches the port.
    :param refusal: a variable and the value that it is given for a call whose environment is none
        of Asterisk's, or names a script that there is not; None: the link is only closed.
    :ivar sessions: the calls inside a script now.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        scripts: Mapping[str, Script] | FindScript,
        clock: IReactorTime,
        settings: AGISettings | None = None,
        admits: Callable[[str], bool] | None = None,
        refusal: tuple[str, str] | None = None,
    ) -> None:
        self.settings = settings or AGISettings()
        self.counters = AGICounters()
        self.sessions: set[FastAGIProtocol] = set()
        self._find_script = scripts.get if isinstance(scripts, Mapping) else scripts
        self._clock = clock
        self._admits = admits
        self._refusal = refusal

    def buildProtocol(self, addr: IAddress | None) -> FastAGIProtocol | None:
        """A session for one more call, None if there are too many or a stranger asks."""
        host = getattr(addr, "host", "")
        if self._admits is not None and not self._admits(host):
            self.counters.strangers += 1
            self.log.warn("FastAGI: {host} may not connect", host=host)
            return None
        if len(self.sessions) >= self.settings.most_sessions:
            self.counters.too_many += 1
            self.log.warn("FastAGI: {most} calls are inside a script", most=len(self.sessions))
            return None
        protocol = FastAGIProtocol(
            self._clock,
            self._find_script,
            self.settings,
            self.counters,
            self.sessions,
            self._refusal,
        )
        protocol.factory = self
        return protocol

    def stopFactory(self) -> None:
        """Lets every call go on in its dialplan."""
        for session in list(self.sessions):
            session.cancel()
