"""What the phones that hear make of sound and of messages; whole calls: ``tests/integration``."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from lab import sip_messages
from lab.audio import linear, tone, tones_in, ulaw
from lab.softphones import strange

TONES = (300, 500, 700, 1100, 1300, 1700)


class TonesTests(SynchronousTestCase):
    """Who is heard."""

    def test_each_alone(self) -> None:
        """A voice is heard as itself and nobody else, in every tenth of a second."""
        for hertz in TONES:
            blocks = tones_in(linear(tone(hertz, 0.5)), TONES)
            self.assertEqual(blocks, [{hertz}] * 5)

    def test_together(self) -> None:
        """Of two that sound at once both are heard."""
        mixed = [
            a + b for a, b in zip(linear(tone(500, 0.5)), linear(tone(1100, 0.5)), strict=True)
        ]
        self.assertEqual(tones_in(mixed, TONES), [{500, 1100}] * 5)

    def test_silence(self) -> None:
        """Nobody is heard in it, nor in what is shorter than a tenth of a second."""
        self.assertEqual(tones_in([0] * 1600, TONES), [set(), set()])
        self.assertEqual(tones_in(linear(tone(500, 0.09)), TONES), [])


class StrangeTests(SynchronousTestCase):
    """What is nobody's voice."""

    def longest(self, sound: bytes) -> float:
        """For how long something strange is heard in packets of a sound."""
        line = SimpleNamespace(
            heard=[(at / 8000, sound[at : at + 160]) for at in range(0, len(sound), 160)]
        )
        return strange(line, TONES, 0.0, 9.0)  # type: ignore[arg-type]

    def mixed(self, *sounds: bytes) -> bytes:
        """Sounds at once, the shorter ones at the beginning."""
        length = max(map(len, sounds))
        linears = [linear(sound) + [0] * (length - len(sound)) for sound in sounds]
        return bytes(ulaw(sum(each)) for each in zip(*linears, strict=True))

    def test_voices(self) -> None:
        """Voices, two at once, one that stops, and silence are nothing strange."""
        both = self.mixed(tone(500, 0.5), tone(1100, 0.3))
        for sound in (tone(1700, 0.5), both, tone(500, 0.2) + tone(700, 0.2), b"\xff" * 1600):
            self.assertEqual(self.longest(sound), 0.0)

    def test_a_beep(self) -> None:
        """A tone of its own is, alone and beneath voices, whatever its height."""
        for hertz in (440, 620, 1000, 1400, 2100):
            beep = tone(hertz, 0.3, 0.15)
            self.assertAlmostEqual(self.longest(beep), 0.3, delta=0.03)
            under = self.mixed(tone(500, 0.6), tone(1100, 0.6), beep)
            self.assertAlmostEqual(self.longest(under), 0.3, delta=0.03)


class MessagesTests(SynchronousTestCase):
    """SIP, as far as a phone needs it."""

    def test_there_and_back(self) -> None:
        """What was spelled is read again; short names of headers are known."""
        body = sip_messages.sdp("127.0.0.3", 4000)
        data = sip_messages.render("INVITE sip:1000@h SIP/2.0", [("f", "<sip:a@b>")], body)
        message = sip_messages.parse(data)
        assert message is not None
        self.assertEqual((message.method, message.number, message.status), ("INVITE", "1000", None))
        self.assertEqual(message.get("from"), "<sip:a@b>")
        self.assertEqual(sip_messages.audio_address(message.body), ("127.0.0.3", 4000))
        self.assertIsNone(sip_messages.parse(b"\0"))

    def test_digest(self) -> None:
        """It answers the challenge, and another password answers otherwise."""
        challenge = 'Digest realm="r", nonce="n", algorithm=MD5'
        answer = sip_messages.credentials(challenge, "1000", "secret", "sip:h")
        self.assertIn('username="1000", realm="r", nonce="n", uri="sip:h"', answer)
        other = sip_messages.credentials(challenge, "1000", "other", "sip:h")
        self.assertNotEqual(answer, other)
