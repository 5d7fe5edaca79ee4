"""Numbers by value, as the service compares them; never as floats."""

from __future__ import annotations

import re
from typing import NamedTuple

from ddbio.model import MAX_DIGITS, Reason

MAX_EXPONENT = 125
MIN_EXPONENT = -130
"""The range of the power of ten of a number's first significant digit (Developer Guide, "Constraints")."""

_SYNTAX = re.compile(
    rb"([+-]?)(?:([0-9]++)(?:\.([0-9]*+))?|\.([0-9]++))(?:[eE]([+-]?)0*+([0-9]*+)(?<=[0-9]))?"
).fullmatch
_ABSURD = 10**15
"""Stands for every exponent of more than 15 digits: no text is long enough to bring the value back into range."""


class Number(NamedTuple):
    """The value of a number: its significant `digits`, without zeros at either end (empty for zero), and the power of
    ten of the first of them.
    """

    negative: bool
    digits: bytes
    exponent: int

    @property
    def size(self) -> int:
        """The bytes that the number adds to the size of an item: one per two digits, aligned at the decimal point.

        The Developer Guide gives an approximation only; this rule matches what the service was observed to count.
        """
        if not self.digits:
            return 1
        count = len(self.digits)
        straddles = count % 2 == 0 and self.exponent % 2 == 0
        return 1 + (count + 1) // 2 + straddles + self.negative

    @property
    def canonical(self) -> bytes:
        """The canonical form: equal bytes if and only if the values are equal."""
        if not self.digits:
            return b"0"
        return b"%s%se%d" % (b"-" if self.negative else b"", self.digits, self.exponent)


def read_number(text: bytes) -> Number | Reason:
    """Parse `text`; return the number, or the reason why the service would reject it.

    The service accepts more than JSON does: a leading `+`, leading zeros, `.5` and `5.`, but no spaces, `NaN` or
    `Infinity`.
    """
    match = _SYNTAX(text)
    if match is None:
        return Reason.NUMBER_INVALID
    sign, whole, fraction, bare_fraction, power_sign, power_digits = match.groups()
    whole = whole or b""
    spelled = whole + (fraction or bare_fraction or b"")
    digits = spelled.lstrip(b"0")
    leading = len(spelled) - len(digits)
    digits = digits.rstrip(b"0")
    if not digits:
        return Number(negative=False, digits=b"", exponent=0)
    if len(digits) > MAX_DIGITS:
        return Reason.NUMBER_TOO_PRECISE
    exponent = len(whole) - 1 - leading + _power(power_sign, power_digits)
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT:
        return Reason.NUMBER_OUT_OF_RANGE
    return Number(sign == b"-", digits, exponent)


def _power(sign: bytes | None, digits: bytes | None) -> int:
    if not digits:
        return 0
    power = int(digits) if len(digits) <= 15 else _ABSURD
    return -power if sign == b"-" else power
