/* XXH64, written from its public specification (xxHash fast digest algorithm, version 0.1.1). */

#ifndef DDBIO_XXH64_H
#define DDBIO_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DDBIO_PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define DDBIO_PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define DDBIO_PRIME_3 UINT64_C(0x165667B19E3779F9)
#define DDBIO_PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define DDBIO_PRIME_5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t ddbio_left(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

/* The next eight and four bytes, the least significant first. */
static inline uint64_t ddbio_le64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint64_t ddbio_le32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t ddbio_round(uint64_t lane, uint64_t input)
{
    return ddbio_left(lane + input * DDBIO_PRIME_2, 31) * DDBIO_PRIME_1;
}

static inline uint64_t ddbio_merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ ddbio_round(0, lane)) * DDBIO_PRIME_1 + DDBIO_PRIME_4;
}

static inline uint64_t ddbio_eight(uint64_t hash, uint64_t input)
{
    return ddbio_left(hash ^ ddbio_round(0, input), 27) * DDBIO_PRIME_1 + DDBIO_PRIME_4;
}

static inline uint64_t ddbio_avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * DDBIO_PRIME_2;
    hash = (hash ^ hash >> 29) * DDBIO_PRIME_3;
    return hash ^ hash >> 32;
}

/* The stripes of 32 bytes, at least one. */
static inline uint64_t ddbio_stripes(const uint8_t *at, size_t count, uint64_t seed)
{
    uint64_t lane1 = seed + DDBIO_PRIME_1 + DDBIO_PRIME_2, lane2 = seed + DDBIO_PRIME_2;
    uint64_t lane3 = seed, lane4 = seed - DDBIO_PRIME_1, hash;
    do {
        lane1 = ddbio_round(lane1, ddbio_le64(at));
        lane2 = ddbio_round(lane2, ddbio_le64(at + 8));
        lane3 = ddbio_round(lane3, ddbio_le64(at + 16));
        lane4 = ddbio_round(lane4, ddbio_le64(at + 24));
        at += 32;
    } while (--count);
    hash = ddbio_left(lane1, 1) + ddbio_left(lane2, 7) + ddbio_left(lane3, 12) + ddbio_left(lane4, 18);
    return ddbio_merge(ddbio_merge(ddbio_merge(ddbio_merge(hash, lane1), lane2), lane3), lane4);
}

static inline uint64_t ddbio_xxh64(const uint8_t *at, size_t length, uint64_t seed)
{
    uint64_t hash = seed + DDBIO_PRIME_5;
    size_t left = length & 31;
    if (length >= 32)
        hash = ddbio_stripes(at, length / 32, seed);
    at += length - left;
    hash += length;
    for (; left >= 8; left -= 8, at += 8)
        hash = ddbio_eight(hash, ddbio_le64(at));
    if (left >= 4) {
        hash = ddbio_left(hash ^ ddbio_le32(at) * DDBIO_PRIME_1, 23) * DDBIO_PRIME_2 + DDBIO_PRIME_3;
        left -= 4, at += 4;
    }
    for (; left; left--, at++)
        hash = ddbio_left(hash ^ *at * DDBIO_PRIME_5, 11) * DDBIO_PRIME_1;
    return ddbio_avalanche(hash);
}

/* The hash of the eight bytes of a number, the least significant first. */
static inline uint64_t ddbio_xxh64_of(uint64_t value, uint64_t seed)
{
    return ddbio_avalanche(ddbio_eight(seed + DDBIO_PRIME_5 + 8, value));
}

#endif
