"""What ``ccdaemon init`` asks: by the command line, and on a terminal what is not said there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ccdaemon.config import ConfigError, parse
from ccdaemon.numbers import COUNTRIES
from ccdaemon.scaffold import Answers


@dataclass(frozen=True)
class Question:
    """One of the answers: its name, what is asked, the form that it has, and how it is read."""

    name: str
    words: str
    form: str
    read: Callable[[str], object]

    @property
    def flag(self) -> str:
        """How it is said on the command line."""
        return "--" + self.name.replace("_", "-")


def country(text: str) -> str:
    """A country in two small letters."""
    if text.lower() not in COUNTRIES:
        raise ValueError(f"{text} is no country: two letters, such as ua (ISO 3166)")
    return text.lower()


def countries(text: str) -> tuple[str, ...]:
    """Several of them."""
    return tuple(country(each) for each in text.replace(",", " ").split())


def operators(text: str) -> int:
    """How many."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise ValueError(f"{text} is no number from 1 to 10000")
    return int(text)


def yes(text: str) -> bool:
    """Yes or no."""
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError("yes or no")
    return text.lower().startswith("y")


def trunk(text: str) -> str:
    """What a dial string takes."""
    return _as_configured(text, Answers(trunk=text))


def database(text: str) -> str:
    """A Postgres as libpq takes it, or ``embedded``."""
    return _as_configured(text, Answers(database=text))


def _as_configured(text: str, answers: Answers) -> str:
    """The text, if a configuration may hold it."""
    channel = f"PJSIP/{{phone}}@{answers.trunk}"
    if '"' in text or "\\" in text or not text.isprintable():
        raise ValueError("no quotes and no backslashes")
    try:
        parse(
            f'[asterisk]\nsecret = "x"\nclient_channel = "{channel}"\n'
            f'[database]\nurl = "{answers.database}"\n'
        )
    except ConfigError as error:
        [problem] = error.problems
        raise ValueError(problem.what) from error
    return text


QUESTIONS = (
    Question("country", "In which country are you", "two letters, such as ua", country),
    Question("countries", "Which countries are called", "such as ua pl", countries),
    Question("operators", "How many operators are there", "a number", operators),
    Question("chan_sip", "Are phones on chan_sip, as before Asterisk 21", "yes or no", yes),
    Question("trunk", "What does Asterisk call the clients' trunk", "its name", trunk),
    Question("database", "Where is the history kept", "a postgresql:// url, or embedded", database),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Have the command line take the answers."""
    for question in QUESTIONS:
        parser.add_argument(
            question.flag,
            type=_read(question),
            metavar=question.name.upper(),
            help=f"{question.words[0].lower()}{question.words[1:]}: {question.form}",
        )


def _read(question: Question) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return question.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def answered(parsed: argparse.Namespace, ask: Callable[[str], str] | None) -> Answers:
    """The answers of a command line; what is not there is asked, or left as it is.

    :param ask: shows its words, and returns a line; None where nobody is there to answer.
    """
    known = {question.name: getattr(parsed, question.name) for question in QUESTIONS}
    for question in QUESTIONS:
        if ask is not None and known[question.name] is None:
            known[question.name] = _ask(question, known, ask)
    return Answers(**{name: value for name, value in known.items() if value is not None})


def _ask(question: Question, known: dict[str, object], ask: Callable[[str], str]) -> object:
    usual: object = getattr(Answers(), question.name)
    if question.name == "countries" and known["country"]:
        usual = (known["country"],)
    shown = {True: "yes", False: "no"}.get(usual, usual) if isinstance(usual, bool) else usual
    shown = " ".join(shown) if isinstance(shown, tuple) else shown
    hint = f"{question.form}; Enter: {shown or 'left open'}"
    while True:
        text = ask(f"{question.words}? ({hint}) ").strip()
        if not text:
            return usual
        try:
            return question.read(text)
        except ValueError as error:
            hint = str(error)
