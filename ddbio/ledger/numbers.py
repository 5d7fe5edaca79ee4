"""A set of small numbers that takes little memory: one bit for each number up to the largest."""

from __future__ import annotations


class Numbers:
    """Whole numbers from 0 on; a million of them take 125 KB. `packed` are those of an earlier set."""

    def __init__(self, packed: bytes = b"") -> None:
        self._bits = bytearray(packed)
        self._count = int.from_bytes(packed, "little").bit_count()

    def add(self, number: int) -> None:
        if number not in self:
            byte = number >> 3
            self._bits.extend(bytes(max(byte + 1 - len(self._bits), 0)))
            self._bits[byte] |= 1 << (number & 7)
            self._count += 1

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int) or number >> 3 >= len(self._bits):
            return False
        return bool(self._bits[number >> 3] >> (number & 7) & 1)

    def __len__(self) -> int:
        return self._count

    def packed(self) -> bytes:
        return bytes(self._bits)
