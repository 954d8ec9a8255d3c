"""The dialplan and the other files for Asterisk hold what the daemon's tables say, and no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.ami.ami_spelling import SPELLED
from ccdaemon.pbx import ami_queues, ami_signals, cel_signals
from ccdaemon.pbx.ami_queries import passes
from ccdaemon.pbx.dialplan import (
    DAEMON,
    DIALPLAN,
    EVENTS_TOLD,
    GLOBALS_READ,
    GOES_NOWHERE,
    HEADERS,
    ROUTES,
    AgiScript,
    Context,
    Global,
    Own,
    Variable,
)

PACKAGE = Path(ccdaemon.__file__).parent
CONF = PACKAGE / "conf" / "asterisk"
#: The contexts that the daemon names, but for the one that a variable names.
NAMED = {one for one in Context if DAEMON in one.entered_by} - {*GOES_NOWHERE.values()}
TABLES = {each.__name__: each for each in (AgiScript, Context, Global, Own, Variable)}

#: A name of ours; of what has another number in each round, all but the number.
_NAME = r"CC_[A-Z_]*[A-Z](?:_(?=\$\{))?"
#: How the dialplan sets one: on its channel, for whom it asks, on the first channel of the call, or
#: where another channel can read it.
_SET = re.compile(rf"Set\((?:_*|(?:MASTER_CHANNEL|SHARED)\()({_NAME})[,)=]")
_CONTEXT = re.compile(r"(?<![\w${-])ccdaemon-[a-z]+")


def steps(name: str = "extensions_ccdaemon.conf") -> Iterator[str]:
    """The lines of a file of ours that Asterisk reads."""
    for line in (CONF / name).read_text("utf8").splitlines():
        if line and not line.startswith(";"):
            yield line


def globals_of(name: str) -> dict[str, str]:
    """What the section of globals has."""
    found: dict[str, str] = {}
    section = ""
    for line in steps(name):
        if line.startswith("["):
            section = line
        elif section == "[globals]" and "=" in line:
            key, _, value = line.partition("=")
            found[key] = value
    return found


def dialplan() -> str:
    """The contexts, without the globals."""
    text = "\n".join(steps())
    return text[text.index("[ccdaemon-outbound]") :]


class DialplanTests(SynchronousTestCase):
    """``extensions_ccdaemon.conf`` against the tables."""

    def test_contexts(self) -> None:
        """Each is defined once; those that nobody enters from outside are entered from within."""
        text = dialplan()
        self.assertEqual(sorted(re.findall(r"^\[(.+)\]$", text, re.M)), sorted(Context))
        without = re.sub(r"^\[.+\]$|\b(?:UserEvent|CELGenUserEvent)\([\w-]+", "", text, flags=re.M)
        own = {context for context in Context if DIALPLAN in context.entered_by}
        self.assertEqual(set(_CONTEXT.findall(without)), own)

    def test_variables(self) -> None:
        """What is set and what is read is what the table says of the dialplan."""
        text = dialplan()
        written = set(_SET.findall(text))
        read = set(re.findall(rf"\b{_NAME}", _SET.sub("", text))) - {*Global} | {Variable.STEREO}
        self.assertEqual(written, {one for one in Variable if DIALPLAN in one.set_by})
        self.assertEqual(read, {one for one in Variable if DIALPLAN in one.read_by})

    def test_nobody_talks_to_themselves_alone(self) -> None:
        """What one side sets a side reads, and what is read is set."""
        for variable in Variable:
            self.assertTrue(variable.set_by and variable.read_by, variable)
        shared = [one for one in Variable if DAEMON in one.set_by | one.read_by]
        for variable in shared:
            self.assertIn(DIALPLAN, variable.set_by | variable.read_by, variable)

    def test_globals(self) -> None:
        """Each has a value in the file that is shipped, is read, and is explained."""
        names = {*Global}
        self.assertEqual(set(globals_of("extensions_ccdaemon.conf")), names)
        self.assertLessEqual(set(globals_of("extensions_ccdaemon_local.conf")), names)
        self.assertLessEqual(names, set(re.findall(rf"\b{_NAME}", dialplan())))
        explained = (CONF / "extensions_ccdaemon.conf").read_text("utf8")
        for name in names:
            self.assertIn(f"\n; {name} ", explained)
        self.assertLessEqual(GLOBALS_READ, names)

    def test_routes(self) -> None:
        """The answers that the dialplan acts by."""
        self.assertEqual(set(re.findall(r'"\$\{CC_ROUTE\}" = "(\w+)"', dialplan())), ROUTES)

    def test_scripts(self) -> None:
        """What is asked by FastAGI, with as many arguments as the scripts take."""
        asked = re.findall(r"AGI\(agi://\$\{CC_AGI\}/(\w+),(.+)\)$", dialplan(), re.M)
        found = {path: len(re.sub(r"\$\{[^}]*\}", "x", words).split(",")) for path, words in asked}
        self.assertEqual(found, {script.value: len(script.arguments) for script in AgiScript})

    def test_events(self) -> None:
        """What is said by AMI and by the channel log: the same words, in the table's order."""
        text = dialplan()
        said = {
            name: tuple(re.findall(r",(\w+): ", words))
            for name, words in re.findall(r"\bUserEvent\(([\w-]+)(.*)\)$", text, re.M)
        }
        self.assertEqual(said, dict(HEADERS))
        for name, words in re.findall(r"CELGenUserEvent\(([\w-]+),?(.*)\)$", text, re.M):
            count = len(words.split("|")) if words else 0
            self.assertEqual(count, len(HEADERS[name]), f"{name} in the log")

    def test_own(self) -> None:
        """Asterisk's own variables by which the dialplan, too, keeps calls from going elsewhere."""
        for name in (Own.FORWARD_CONTEXT, Own.TRANSFER_CONTEXT):
            self.assertIn(f"Set({name}={Context.NOWHERE})", dialplan())


class ManagerTests(SynchronousTestCase):
    """``manager_ccdaemon.conf``."""

    def setUp(self) -> None:
        """Read it."""
        lines = dict.fromkeys(steps("manager_ccdaemon.conf"))
        pairs = [line.split(" = ", 1) for line in lines if " = " in line]
        self.filters = [value for key, value in pairs if key == "eventfilter"]

    def test_what_is_let_through(self) -> None:
        """All that the daemon listens to, and nothing else."""
        lists = [re.fullmatch(r"Event: (\w*)\((.*)\)", one) for one in self.filters]
        named = [[one[1] + name for name in one[2].split("|")] for one in lists if one]
        # Of queues it is told that something changed, and Asterisk is asked what.
        told = {*EVENTS_TOLD, *ami_queues.EVENTS}
        self.assertEqual({name for names in named for name in names}, told)
        for event in told:
            self.assertTrue(passes(self.filters, event), event)
        for event in ami_signals.EVENTS:
            self.assertIn(event, {*EVENTS_TOLD, "UserEvent"})

    def test_what_the_dialplan_says(self) -> None:
        """Its own events, by the beginning of their names."""
        [own] = [one for one in self.filters if one.startswith("UserEvent")]
        for name in HEADERS:
            self.assertTrue(re.search(own, f"Event: UserEvent\r\nUserEvent: {name}\r\n"), name)

    def test_all_of_them_are_judged(self) -> None:
        """Of each it is known how Asterisk spells it."""
        self.assertLessEqual(set(EVENTS_TOLD), set(SPELLED))


class ChannelLogTests(SynchronousTestCase):
    """``cel_ccdaemon.conf`` and ``cel_custom_ccdaemon.conf``."""

    def test_events(self) -> None:
        """What Asterisk is to write is what is read."""
        lines = [line for line in steps("cel_ccdaemon.conf") if line.startswith("events")]
        asked = [event for line in lines for event in line.partition(" = ")[2].split(",")]
        self.assertEqual(sorted(asked), sorted({*cel_signals.EVENTS, "USER_DEFINED"}))

    def test_columns(self) -> None:
        """Each is quoted, in the order in which they are read."""
        [line] = [line for line in steps("cel_custom_ccdaemon.conf") if "=>" in line]
        cells = re.findall(r"\$\{CSV_QUOTE\(\$\{(.*?)\}\)\}(?:,|$)", line.partition(" => ")[2])
        names = [re.sub(r"CHANNEL\((.*)\)|CALLERID\((.*)\)", r"\1\2", cell) for cell in cells]
        spelled = {"BRIDGEPEER": "peer", "num": "cidnum"}
        self.assertEqual(
            tuple(spelled.get(name, name) for name in names), cel_signals.COLUMNS, line
        )


class CodeTests(SynchronousTestCase):
    """The daemon takes every name from the tables."""

    def test_no_literals(self) -> None:
        """No other module spells a variable or a context."""
        spelled = re.compile(r"_{0,2}CC_[A-Z_]+|ccdaemon-[a-z]+")
        contexts = {*Context}
        for path, tree in _modules():
            for node in ast.walk(tree):
                if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                    continue
                found = spelled.fullmatch(node.value)
                if found and (node.value.startswith(("_", "CC_")) or node.value in contexts):
                    self.fail(f"{path.relative_to(PACKAGE)}:{node.lineno} spells {node.value}")

    def test_everything_is_used(self) -> None:
        """What the tables say of the daemon it does."""
        used = {
            (node.value.id, node.attr)
            for _, tree in _modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        expected = {
            *(("Context", one.name) for one in NAMED),
            *(("Variable", one.name) for one in Variable if DAEMON in one.set_by | one.read_by),
            *(("Global", one.name) for one in GLOBALS_READ),
            *(("Own", one.name) for one in Own if one not in GOES_NOWHERE),
            *(("AgiScript", one.name) for one in AgiScript),
        }
        ours = {
            (table, name)
            for table, name in used
            if table in TABLES and name in TABLES[table].__members__
        }
        self.assertEqual(expected - ours, set())
        others = {one for one in ours - expected if one[0] == "Variable"}
        self.assertEqual(others, set(), "the table says that these are the dialplan's alone")


def _modules() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != PACKAGE / "pbx" / "dialplan.py":
            yield path, ast.parse(path.read_text("utf8"))
