"""XXH3 in C, apart from the codec that uses it: the same as the package `xxhash` for each length and any seed."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from ddbio import codec

HEADER = Path(codec.__file__).with_name("_xxh3.h")
SOURCE = """
#include "_xxh3.h"
uint64_t of_bytes(const uint8_t *at, size_t length, uint64_t seed) { return ddbio_xxh3(at, length, seed); }
uint64_t of_word(uint64_t word, size_t length, uint64_t seed) { return ddbio_xxh3_word(word, length, seed); }
uint64_t of_number(uint64_t number, uint64_t seed) { return ddbio_xxh3_of(number, seed); }
"""
CHANCE = random.Random(3)
SEEDS = (0, 1, 2**32, 2**63, 2**64 - 1, CHANCE.getrandbits(64), CHANCE.getrandbits(64))
BYTES = CHANCE.randbytes(300_000)


@pytest.fixture(scope="module", params=["-O2", "-U__SIZEOF_INT128__"], ids=["plain", "without __int128"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None or not HEADER.exists():
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("xxh3")
    (folder / "xxh3.c").write_text(SOURCE)
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", request.param, f"-I{HEADER.parent}"]
    subprocess.run([compiler, *flags, "xxh3.c", "-o", "xxh3.so"], cwd=folder, check=True, timeout=60)
    library = ctypes.CDLL(str(folder / "xxh3.so"))
    library.of_bytes.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    library.of_word.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.c_uint64]
    library.of_number.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
    for function in (library.of_bytes, library.of_word, library.of_number):
        function.restype = ctypes.c_uint64
    return library


@pytest.mark.parametrize("seed", SEEDS)
def test_every_length(built: ctypes.CDLL, seed: int) -> None:
    for length in [*range(2_001), 4_096, 4_097, 65_536, 300_000]:
        data = BYTES[-length:] if length else b""
        assert built.of_bytes(data, length, seed) == xxh3_64_intdigest(data, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_in_a_word(built: ctypes.CDLL, seed: int) -> None:
    for begin in range(200):
        for length in range(3, 9):
            data = BYTES[begin : begin + length]
            assert built.of_word(int.from_bytes(data, "little"), length, seed) == xxh3_64_intdigest(data, seed)
        number = BYTES[begin : begin + 8]
        assert built.of_number(int.from_bytes(number, "little"), seed) == xxh3_64_intdigest(number, seed)
