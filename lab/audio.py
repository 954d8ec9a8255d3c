"""Tones in µ-law at 8000 samples a second, so that one can hear who is in a recording."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

RATE = 8000
_BIAS = 0x84
_CLIP = 32635


def tone(hertz: int, seconds: float, loudness: float = 0.3) -> bytes:
    """A sine, one byte a sample; whole periods, so that it can be played in a loop."""
    periods = max(1, round(hertz * seconds))
    samples = round(periods * RATE / hertz)
    return bytes(
        ulaw(int(loudness * 32767 * math.sin(2 * math.pi * periods * n / samples)))
        for n in range(samples)
    )


def ulaw(sample: int) -> int:
    """One sample of 16 bits as G.711 µ-law."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | exponent << 4 | mantissa) & 0xFF


def _linear(byte: int) -> int:
    """One byte of G.711 µ-law as a sample of 16 bits."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + _BIAS << (byte >> 4 & 0x07)) - _BIAS
    return -magnitude if byte & 0x80 else magnitude


_LINEAR = [_linear(byte) for byte in range(256)]

#: Samples that are looked at together, 0.1 s: tones of whole tens of hertz are told apart.
BLOCK = RATE // 10
#: How loud a tone has to be to count as heard, in parts of full scale; phones play at 0.3.
_HEARD = 0.03


def linear(ulaw: bytes) -> list[int]:
    """µ-law as samples of 16 bits."""
    return [_LINEAR[byte] for byte in ulaw]


def tones_in(samples: Sequence[int], tones: Collection[int]) -> list[set[int]]:
    """Which of the ``tones`` (hertz, whole tens) sound in each tenth of a second."""
    whole = len(samples) - len(samples) % BLOCK
    return [
        {hertz for hertz in tones if _loudness(samples[start : start + BLOCK], hertz) > _HEARD}
        for start in range(0, whole, BLOCK)
    ]


def rest_of(samples: Sequence[int], tones: Collection[int]) -> float:
    """How loud is what is left without the tones: root mean square, in parts of full scale.

    The tones are told from the rest where their periods are whole: in a packet of 0.02 s those of
    whole fifties of hertz.
    """
    power = sum(sample * sample for sample in samples) / len(samples) / 32768**2
    return math.sqrt(max(power - sum(_loudness(samples, hertz) ** 2 / 2 for hertz in tones), 0.0))


def _loudness(block: Sequence[int], hertz: int) -> float:
    """The amplitude of a tone, in parts of full scale (Goertzel)."""
    coefficient = 2 * math.cos(2 * math.pi * hertz / RATE)
    last = before = 0.0
    for sample in block:
        last, before = sample + coefficient * last - before, last
    power = max(last * last + before * before - coefficient * last * before, 0.0)
    return 2 * math.sqrt(power) / len(block) / 32768
