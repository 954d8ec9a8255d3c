"""Operators' phones: what is dialled, and whose device and channel is whose."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config.validators import Pattern
from ccdaemon.pbx.endpoints import ELSEWHERE, Endpoints, Kind, Template, summed, trunk_device


def endpoints(*channels: str, dnd: str = "", trunks: tuple[str, ...] = ()) -> Endpoints:
    """Operators have three to six digits."""
    return Endpoints(channels, Pattern("[0-9]{3,6}"), dnd=dnd, trunks=trunks)


class TemplateTests(SynchronousTestCase):
    """One way in which operators are dialled."""

    def test_table(self) -> None:
        """What it is, what is dialled, and which device that is."""
        for text, kind, dialled, device in (
            ("PJSIP/{sip}", Kind.PJSIP, "PJSIP/1000", "PJSIP/1000"),
            ("PJSIP/T2_{sip}", Kind.PJSIP, "PJSIP/T2_1000", "PJSIP/T2_1000"),
            ("PJSIP/{sip}-WS", Kind.PJSIP, "PJSIP/1000-WS", "PJSIP/1000-WS"),
            ("SIP/{sip}", Kind.SIP, "SIP/1000", "SIP/1000"),
            ("PJSIP/{sip}@far", Kind.ELSEWHERE, "PJSIP/1000@far", "PJSIP/1000@far"),
            ("SIP/far/{sip}", Kind.ELSEWHERE, "SIP/far/1000", "SIP/far/1000"),
            ("Local/{sip}@ops", Kind.LOCAL, "Local/1000@ops/n", "Local/1000@ops"),
            ("Local/{sip}@ops/n", Kind.LOCAL, "Local/1000@ops/n", "Local/1000@ops"),
            ("Local/{sip}@ops/b", Kind.LOCAL, "Local/1000@ops/bn", "Local/1000@ops"),
            ("IAX2/{sip}", Kind.OTHER, "IAX2/1000", "IAX2/1000"),
        ):
            template = Template(text)
            found = template.kind, template.dial("1000"), template.device("1000")
            self.assertEqual(found, (kind, dialled, device), text)
            self.assertEqual(template.sip(device), "1000", text)

    def test_where_a_local_channel_leads(self) -> None:
        """To an extension of a context."""
        self.assertEqual(Template("Local/8{sip}@ops/n").extension("1000"), ("ops", "81000"))
        self.assertEqual(Template("Local/{sip}").extension("1000"), ("default", "1000"))


class EndpointsTests(SynchronousTestCase):
    """All of them."""

    def test_whose_channel_it_is(self) -> None:
        """By the template that says more; a trunk is nobody's."""
        known = endpoints("PJSIP/{sip}", "PJSIP/99{sip}", "SIP/{sip}", trunks=("PJSIP/7700",))
        for name, sip in (
            ("PJSIP/1000-0000002a", "1000"),
            ("PJSIP/991000-0000002a", "1000"),
            ("SIP/1000-0000002a", "1000"),
            ("PJSIP/9912-0000002a", "9912"),
            ("PJSIP/7700-0000002a", None),
            ("PJSIP/trunk-0000002a", None),
            ("Local/1000@ops-0000002a;1", None),
        ):
            self.assertEqual(known.sip_of_channel(name), sip, name)
        local = endpoints("Local/{sip}@ops/n")
        self.assertEqual(local.sip_of_channel("Local/1000@ops-0000002a;1"), "1000")

    def test_what_is_dialled(self) -> None:
        """All phones that can ring; where none can, or nobody knows, what there is."""
        known = endpoints("PJSIP/{sip}", "PJSIP/{sip}-WS", "PJSIP/{sip}@far")
        desk, web, far = "PJSIP/1000", "PJSIP/1000-WS", "PJSIP/1000@far"
        for devices, dialled in (
            ({desk: "NOT_INUSE", web: "NOT_INUSE"}, (desk, web)),
            ({desk: "UNAVAILABLE", web: "RINGING"}, (web,)),
            ({desk: "UNAVAILABLE", web: "UNAVAILABLE"}, (desk, web)),
            ({desk: "UNAVAILABLE", far: ELSEWHERE}, (far,)),
            ({}, (desk,)),
        ):
            self.assertEqual(known.dialled("1000", devices), dialled, devices)

    def test_do_not_disturb(self) -> None:
        """A device of its own says it."""
        known = endpoints("PJSIP/{sip}", dnd="Custom:DND{sip}")
        self.assertEqual(known.undisturbed("Custom:DND1000"), "1000")
        self.assertIsNone(known.undisturbed("Custom:DND1000000000"))
        self.assertIsNone(endpoints("PJSIP/{sip}").undisturbed("Custom:DND1000"))

    def test_the_sum_of_the_devices(self) -> None:
        """In use where one is, reachable where one is."""
        for states, together in (
            (("UNAVAILABLE", "NOT_INUSE"), "NOT_INUSE"),
            (("NOT_INUSE", "INUSE"), "INUSE"),
            (("UNAVAILABLE", ELSEWHERE), ELSEWHERE),
            (("UNAVAILABLE", "INVALID"), "UNAVAILABLE"),
            (("RINGING", "ONHOLD"), "ONHOLD"),
        ):
            self.assertEqual(summed(states), together)

    def test_trunks(self) -> None:
        """The device that a client's dial string names, where it names one."""
        for channel, device in (
            ("PJSIP/{phone}@7700", "PJSIP/7700"),
            ("SIP/7700/{phone}", "SIP/7700"),
            ("Local/{phone}@from-internal", None),
            ("PJSIP/{phone}", None),
        ):
            self.assertEqual(trunk_device(channel), device)
