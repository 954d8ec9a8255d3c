"""Which method is asked for, and in which format: from the path and the ``Accept`` header.

Pure. Knows the spelling of addresses, not the methods.
"""

from __future__ import annotations

from ccdaemon.api.rendering import Format

#: What ``Accept`` may call the formats.
_TYPES = {
    "application/json": Format.JSON,
    "application/xml": Format.XML,
    "text/xml": Format.XML,
}
_SUFFIXES = {format.value: format for format in Format}


def method_name(segment: str) -> str | None:
    """Take the suffixes off the last segment of ``/api/<method>.<format>``.

    :return: the method's name in lower case; None if a suffix is neither json nor xml.
    """
    name, *suffixes = segment.lower().split(".")
    return name if all(suffix in _SUFFIXES for suffix in suffixes) else None


def wanted_format(path: str, accept: str | None) -> Format:
    """Say how the answer is to be spelled: the path's last suffix decides, then ``Accept``."""
    suffix = path.rpartition("/")[2].rpartition(".")[2].lower()
    return _SUFFIXES.get(suffix) or _accepted(accept or "")


def _accepted(accept: str) -> Format:
    weights: dict[Format, float] = {}
    anything = 0.0
    for item in accept.split(","):
        media_type, *options = (part.strip().lower() for part in item.split(";"))
        weight = _weight(options)
        if media_type in _TYPES:
            format = _TYPES[media_type]
            weights[format] = max(weights.get(format, 0.0), weight)
        elif media_type in ("*/*", "application/*"):
            anything = max(anything, weight)
    # A wildcard is content with our own choice, which is JSON.
    json = weights.get(Format.JSON, anything)
    return Format.XML if weights.get(Format.XML, 0.0) > json else Format.JSON


def _weight(options: list[str]) -> float:
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
