"""The fingerprint of items: equal for equal items, and added up for a page, a file or a table.

It does not depend on the notation of an item: the order of attributes, of the members of a map and of the elements of a
set, the escapes in strings, white space, and the notation of numbers. It distinguishes a set from a list, the number 1
from the string "1", and everything else that the service distinguishes. It detects accidental differences, and does not
protect from deliberate forgery.

**Definition.** All arithmetic is modulo 2^64. X(bytes, seed) is XXH3 with 64 bits as its specification says;
le(n) are the 8 bytes of n, the least significant first; strings and names are taken as UTF-8, with every escape decoded
(half of a surrogate pair, which no item of the service holds, counts as `?`). The hash of a value at a place p is

    H(value, p) = X(content, p + tag * 0x9E3779B97F4A7C15)

(the factor, 2^64 divided by the golden ratio, makes seeds differ in all of their bits: where they differ in a few only,
XXH3 of short contents is the same for contents that differ in those).

| type | tag | content |
|---|---|---|
| S | 1 | the string |
| N | 2 | the number in the canonical form below |
| B | 3 | the value in base64 (RFC 4648, section 4, padded), as JSON holds it |
| BOOL | 4 | `true` or `false` |
| NULL | 5 | nothing |
| M | 6 | le(the sum over all members of H(member's value, X(member's name, 0))) |
| L | 7 | le(c), where c begins with 0 and becomes H(element, c) with each element in turn |
| SS | 8 | le(the sum over all elements of X(the string, 0)) |
| NS | 9 | le(the sum over all elements of X(the number as in N, 0)) |
| BS | 10 | le(the sum over all elements of X(the base64 text, 0)) |

The canonical form of a number is `-`, its digits without zeros at either end, `e`, and the power of ten of the first of
them: `-1.50` is `-15e0`. Zero is `0`. A text that the service would not accept as a number is left as it is.

The fingerprint of an item is H(the map of its attributes, 0); that of a page or file is the sum over its items.
"""

from __future__ import annotations

MASK = 2**64 - 1
SEEDS = {
    kind: tag * 0x9E3779B97F4A7C15 & MASK
    for tag, kind in enumerate(("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"), start=1)
}
"""What each type adds to the place of a value."""
