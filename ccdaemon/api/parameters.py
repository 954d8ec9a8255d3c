"""Parameters: what each one may be, and how the text that came becomes a value.

Pure. The same declarations refuse a bad value by name and describe the parameter in the OpenAPI
document. An empty value is an absent one, an unknown name is ignored, nothing is ever clamped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from ccdaemon.api.param_types import ParamType, Patterns
from ccdaemon.api.request_params import Pairs
from ccdaemon.errors import Code, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Generic[T]):
    """One parameter: its name on the wire, what it may be, and what stands for an absent one."""

    name: str
    kind: ParamType[T]
    about: str
    default: T | None = None


class Values:
    """The values of one request, each under its declaration."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __getitem__(self, parameter: Parameter[T]) -> T:
        """Give the value of a parameter that is required or has a default."""
        value = self.get(parameter)
        if value is None:
            raise KeyError(parameter.name)
        return value

    def get(self, parameter: Parameter[T]) -> T | None:
        """Give the value, else the default, else None."""
        return cast("T | None", self._values.get(parameter.name, parameter.default))


def read_values(
    pairs: Pairs,
    required: Sequence[Parameter[Any]],
    optional: Sequence[Parameter[Any]],
    patterns: Patterns,
) -> Values:
    """Make values of what came.

    :raises Refused: ``missing_parameter`` or ``bad_parameter``, naming the first field at fault
        in the order of the declarations.
    """
    values: dict[str, object] = {}
    for parameter in (*required, *optional):
        text = single(pairs, parameter.name)
        if text is not None:
            values[parameter.name] = _value(parameter, text, patterns)
        elif parameter in required:
            raise Refused(
                Code.MISSING_PARAMETER,
                f"{parameter.name} is missing: {parameter.about}",
                field=parameter.name,
            )
    return Values(values)


def single(pairs: Pairs, name: str) -> str | None:
    """Find the one value that came under a name; None if none did, or only empty ones.

    :raises Refused: ``bad_parameter`` if there are several.
    """
    found = [text for given, text in pairs if given == name and text]
    if len(found) > 1:
        raise Refused(Code.BAD_PARAMETER, f"{name} is given more than once", field=name)
    return found[0] if found else None


def _value(parameter: Parameter[T], text: str, patterns: Patterns) -> T:
    try:
        return parameter.kind.parse(text, patterns)
    except ValueError:
        raise Refused(
            Code.BAD_PARAMETER,
            f"{parameter.name} must be {parameter.kind.expected(patterns)}",
            field=parameter.name,
        ) from None
