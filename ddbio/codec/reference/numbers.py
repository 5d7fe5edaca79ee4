"""Numbers as the service sees them: by value, never as a float."""

from __future__ import annotations

import re
from typing import NamedTuple

from ddbio.model import MAX_DIGITS, Reason

MAX_EXPONENT = 125
MIN_EXPONENT = -130
"""A number's first significant digit stands between 1E-130 and 1E+125 (Developer Guide, "Constraints")."""

_SYNTAX = re.compile(
    rb"([+-]?)(?:([0-9]++)(?:\.([0-9]*+))?|\.([0-9]++))(?:[eE]([+-]?)0*+([0-9]*+)(?<=[0-9]))?"
).fullmatch
INTEGER = rb"0|-?[1-9][0-9]{0,15}"
"""A number in its most usual spelling."""
_ABSURD = 10**15
"""Stands for every exponent of more than 15 digits: no text is long enough to bring it back into range."""


class Number(NamedTuple):
    """A number's value: `digits` without leading and trailing zeros (empty for zero), and the power of ten of the
    first of them.
    """

    negative: bool
    digits: bytes
    exponent: int

    @property
    def size(self) -> int:
        """Bytes that it counts in an item's size: two digits a byte, aligned at the decimal point.

        The rule is fitted to what the service was seen to count; the guide says "approximately".
        """
        if not self.digits:
            return 1
        count = len(self.digits)
        straddles = count % 2 == 0 and self.exponent % 2 == 0
        return 1 + (count + 1) // 2 + straddles + self.negative

    @property
    def canonical(self) -> bytes:
        """Equal bytes if and only if the values are equal."""
        if not self.digits:
            return b"0"
        return b"%s%se%d" % (b"-" if self.negative else b"", self.digits, self.exponent)


def integer_size(text: bytes) -> int:
    """The size of a number that is spelled as `INTEGER` says."""
    if text == b"0":
        return 1
    negative = text[0] == 0x2D
    width = len(text) - negative
    count = len(text.rstrip(b"0")) - negative
    return 1 + (count + 1) // 2 + (count % 2 == 0 and width % 2 == 1) + negative


def read_number(text: bytes) -> Number | Reason:
    """The number that `text` spells, or why the service would not take it.

    The service takes more than JSON does: a leading `+`, leading zeros, `.5`, `5.`; but no spaces, `NaN` or `Infinity`.
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
