"""Which modules Asterisk has not loaded, and what is said of it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.check.findings import Finding, Level
from ccdaemon.check.modules import NEEDED, PJSIP_WANTED, WANTED, try_modules
from tests.fake_asterisk import FakeAsterisk


class ModulesTests(SynchronousTestCase):
    """Each module is asked for by IFMODULE."""

    def tried(self, *missing: str, channel: str = "PJSIP/{sip}") -> Finding:
        """What is said where these are not loaded."""
        asterisk = FakeAsterisk()
        for name in (*NEEDED, *WANTED, *PJSIP_WANTED):
            loaded = "0" if name in missing else "1"
            asterisk.variables[None, f"IFMODULE({name}.so)"] = loaded
        trying = Deferred.fromCoroutine(try_modules(asterisk, [channel]))
        return self.successResultOf(trying)

    def test_all_there(self) -> None:
        """Nothing to say."""
        self.assertIs(self.tried().level, Level.OK)

    def test_what_falls_away(self) -> None:
        """Each that is wanted is named with what needs it."""
        for name, what in (WANTED | PJSIP_WANTED).items():
            found = self.tried(name)
            self.assertIs(found.level, Level.WARN)
            self.assertIn(f"{name} ({what})", str(found))

    def test_what_nothing_goes_without(self) -> None:
        """Each that is needed."""
        for name in NEEDED:
            found = self.tried(name)
            self.assertIs(found.level, Level.FAIL)
            self.assertIn(name, str(found))

    def test_without_pjsip(self) -> None:
        """What only PJSIP needs is not missed."""
        self.assertIs(self.tried(*PJSIP_WANTED, channel="SIP/{sip}").level, Level.OK)

    def test_nobody_to_ask(self) -> None:
        """Where the function that says it is not loaded, that is said."""
        found = self.tried(*NEEDED, *WANTED, *PJSIP_WANTED)
        self.assertIs(found.level, Level.WARN)
        self.assertIn("func_module", str(found))
