"""The daemon silent, in every way it can be: an inbound client is at the fallback within 3 s."""

from __future__ import annotations

import os
import signal
import socket

from lab.processes import free_port
from tests.integration.calling_in import TALK, CallingInTestCase
from tests.integration.harness import on_16

#: Whom the administrator has called when the daemon is silent; their phone answers after 0.3 s.
FALLBACK = "1150"
#: The limit, in seconds, from the client's INVITE to the one at the fallback.
WITHIN = 3.0
#: A frozen daemon is noticed by nothing but this limit of the dialplan.
FROZEN = 2.5


@on_16(nightly=True)
class FallbackTests(CallingInTestCase):
    """One call for each way to be silent."""

    shared = False
    dialplan = {"CC_FALLBACK": f"PJSIP/{FALLBACK}"}

    def setUp(self) -> None:
        """Have the fallback's talks recorded as well."""
        super().setUp()
        self.set_globals(CC_RECORDINGS=str(self.lab.asterisk.recordings_as_asterisk_sees))

    async def falls_back(self, least: float = 0.0, talk: float = 1.0) -> str:
        """Call in; the fallback takes it, in time, and they talk. The caller's number."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=talk)
        dialled = await self.seen(did, "dialled")
        await self.seen(did, "answered")
        [invite] = [event for event in self.rung_by(caller) if event.event == "invite"]
        self.assertEqual(invite.number, FALLBACK)
        self.assertLess(invite.time - dialled.time, WITHIN)
        self.assertGreaterEqual(invite.time - dialled.time, least)
        await self.seen(did, "hangup")
        return caller

    async def told(self, caller: str) -> None:
        """The call is in the history once, whole, with its times and its recording."""
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual({state["sip"] for state in call["states"][1:]}, {FALLBACK})
        self.assertEqual(call["hung_up_by"], "client")
        self.assertApproximates(call["talk_seconds"], 1.0, 0.5)
        await self.recorded(call)

    async def test_refused(self) -> None:
        """Nobody listens where FastAGI should be, and the daemon lives: the call is told live."""
        self.set_globals(
            CC_AGI=f"127.0.0.1:{free_port(socket.SOCK_STREAM)}",
            CC_RECORDINGS=str(self.lab.asterisk.recordings_as_asterisk_sees),
        )
        await self.told(await self.falls_back())

    async def test_dead(self) -> None:
        """The daemon was killed; after its return the call is told, from the CEL."""
        self.daemon.kill()
        caller = await self.falls_back()
        self.daemon.start()
        await self.told(caller)

    async def test_frozen(self) -> None:
        """The daemon is stopped and its port still accepts; afterwards the call is told, once."""
        pid = self.daemon.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.daemon.send, signal.SIGCONT)
        callers = [await self.falls_back(least=FROZEN - 0.1) for _ in range(2)]
        os.kill(pid, signal.SIGCONT)
        for caller in callers:
            await self.told(caller)

    async def test_killed_while_it_decides(self) -> None:
        """The link ends in the middle of a question."""
        pid = self.daemon.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=1.0)
        dialled = await self.seen(did, "dialled")
        await self.sleep(1.0)
        self.daemon.kill()
        answered = await self.seen(did, "answered")
        self.assertLess(answered.time - dialled.time, WITHIN)
        await self.seen(did, "hangup")
        self.daemon.start()
        await self.told(caller)

    async def test_no_connection_is_taken(self) -> None:
        """Connections are neither taken nor refused, as from a machine that is off."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            self.set_globals(CC_AGI=f"127.0.0.1:{full.getsockname()[1]}")
            await self.falls_back(least=1.5)
            for each in waiting:
                each.close()

    async def test_garbage(self) -> None:
        """Something else answers there, and never stops."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen(5)
            other.setblocking(False)
            self.set_globals(CC_AGI=f"127.0.0.1:{other.getsockname()[1]}")
            did, caller = self.a_client()
            self.lab.clients.call(did, caller, talk=0.5)
            dialled = await self.seen(did, "dialled")

            def taken() -> list[socket.socket]:
                try:
                    return [other.accept()[0]]
                except BlockingIOError:
                    return []

            [link] = await self.wait_for(taken, 5.0, "Asterisk asks")
            link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n\0\xff" * 20)
            answered = await self.seen(did, "answered")
            self.assertLess(answered.time - dialled.time, WITHIN)
            link.close()

    async def test_fallback_that_does_not_answer(self) -> None:
        """The client is told that nobody answers, after the time that the fallback may ring."""
        self.set_globals(CC_AGI="127.0.0.1:9", CC_FALLBACK="PJSIP/1006", CC_FALLBACK_TIMEOUT="2")
        self.addCleanup(self.lab.asterisk.set_globals, CC_FALLBACK_TIMEOUT="60")
        did, caller = self.a_client()
        self.lab.clients.call(did, caller)
        self.assertEqual((await self.seen(did, "refused")).detail, "480")
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), ["CALL", "OPERATOR_CALLTO", "OPERATOR_NOANSWER"])

    async def test_no_fallback(self) -> None:
        """Without one the client is told at once that it cannot be; the call is told, too."""
        self.set_globals(CC_AGI="127.0.0.1:9", CC_FALLBACK="")
        did, caller = self.a_client()
        self.lab.clients.call(did, caller)
        self.assertEqual((await self.seen(did, "refused")).detail, "503")
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), ["CALL", "OPERATOR_OFFLINE"])
        self.assertIsNone(call["states"][1]["sip"])


class FrozenTests(CallingInTestCase):
    """Many at once."""

    shared = False
    dialplan = {"CC_FALLBACK": f"PJSIP/{FALLBACK}"}

    async def test_all_of_many(self) -> None:
        """Twelve clients call a frozen daemon at once: none waits longer."""
        pid = self.daemon.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.daemon.send, signal.SIGCONT)
        clients = [self.a_client() for _ in range(12)]
        for did, caller in clients:
            self.lab.clients.call(did, caller, talk=1.0)
        for did, caller in clients:
            dialled = await self.seen(did, "dialled")
            await self.seen(did, "answered")
            [invite] = [event for event in self.rung_by(caller) if event.event == "invite"]
            self.assertLess(invite.time - dialled.time, WITHIN)
            await self.seen(did, "hangup")
        os.kill(pid, signal.SIGCONT)
        for _, caller in clients:
            call = await self.over(await self.call_of(caller))
            self.assertEqual(self.chain_of(call), TALK)
