"""Tones in µ-law at 8000 samples a second, so that one can hear who is in a recording."""

from __future__ import annotations

import math

RATE = 8000
_BIAS = 0x84
_CLIP = 32635


def tone(hertz: int, seconds: float, loudness: float = 0.3) -> bytes:
    """A sine, one byte a sample; whole periods, so that it can be played in a loop."""
    periods = max(1, round(hertz * seconds))
    samples = round(periods * RATE / hertz)
    return bytes(
        _ulaw(int(loudness * 32767 * math.sin(2 * math.pi * periods * n / samples)))
        for n in range(samples)
    )


def _ulaw(sample: int) -> int:
    """One sample of 16 bits as G.711 µ-law."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | exponent << 4 | mantissa) & 0xFF
