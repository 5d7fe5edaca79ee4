/* XXH3 with 64 bits and a seed, written from its public specification (xxHash fast digest algorithm, version 0.2.0). */

#ifndef DDBIO_XXH3_H
#define DDBIO_XXH3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __GNUC__
#define DDBIO_RARE __attribute__((noinline))
#else
#define DDBIO_RARE
#endif

#define DDBIO_PRIME32_1 UINT64_C(0x9E3779B1)
#define DDBIO_PRIME32_2 UINT64_C(0x85EBCA77)
#define DDBIO_PRIME32_3 UINT64_C(0xC2B2AE3D)
#define DDBIO_PRIME64_1 UINT64_C(0x9E3779B185EBCA87)
#define DDBIO_PRIME64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define DDBIO_PRIME64_3 UINT64_C(0x165667B19E3779F9)
#define DDBIO_PRIME64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define DDBIO_PRIME64_5 UINT64_C(0x27D4EB2F165667C5)
#define DDBIO_PRIME_MX1 UINT64_C(0x165667919E3779F9)
#define DDBIO_PRIME_MX2 UINT64_C(0x9FB21C651E98DF25)

/* The default secret. */
static const uint8_t ddbio_secret[192] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

/* The low half, or all, of a word with its bytes in reverse. */
static inline uint64_t ddbio_swap32(uint64_t value)
{
    return (value & 0xff) << 24 | (value & 0xff00) << 8 | (value >> 8 & 0xff00) | (value >> 24 & 0xff);
}

static inline uint64_t ddbio_swap64(uint64_t value)
{
    return ddbio_swap32(value) << 32 | ddbio_swap32(value >> 32);
}

static inline uint64_t ddbio_left(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

/* The next eight and four bytes, the least significant first. */
static inline uint64_t ddbio_le64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = ddbio_swap64(value);
#endif
    return value;
}

static inline uint64_t ddbio_le32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return ddbio_swap32(value);
#endif
    return value;
}

/* Both halves of the product of 128 bits, one upon the other. */
static inline uint64_t ddbio_fold(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), cross = a0 * b1 + (uint32_t)middle;
    return (a1 * b1 + (middle >> 32) + (cross >> 32)) ^ (cross << 32 | (uint32_t)low);
#endif
}

static inline uint64_t ddbio_avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 37) * DDBIO_PRIME_MX1;
    return hash ^ hash >> 32;
}

static inline uint64_t ddbio_avalanche_xxh64(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * DDBIO_PRIME64_2;
    hash = (hash ^ hash >> 29) * DDBIO_PRIME64_3;
    return hash ^ hash >> 32;
}

/* Two words of the secret, one upon the other. */
static inline uint64_t ddbio_secret_pair(size_t offset)
{
    return ddbio_le64(ddbio_secret + offset) ^ ddbio_le64(ddbio_secret + offset + 8);
}

/* The hash of 1 to 3 bytes, given as the last, the length, the first and the middle one. */
static inline uint64_t ddbio_1_to_3(uint64_t bytes, uint64_t seed)
{
    return ddbio_avalanche_xxh64(((ddbio_le32(ddbio_secret) ^ ddbio_le32(ddbio_secret + 4)) + seed) ^ bytes);
}

/* The hash of 4 to 8 bytes, of which the first and the last four are given. */
static inline uint64_t ddbio_4_to_8(uint64_t first, uint64_t last, size_t length, uint64_t seed)
{
    uint64_t hash = (ddbio_secret_pair(8) - (seed ^ ddbio_swap32(seed) << 32)) ^ (last | first << 32);
    hash = (hash ^ ddbio_left(hash, 49) ^ ddbio_left(hash, 24)) * DDBIO_PRIME_MX2;
    hash = (hash ^ ((hash >> 35) + length)) * DDBIO_PRIME_MX2;
    return hash ^ hash >> 28;
}

static inline uint64_t ddbio_9_to_16(const uint8_t *at, size_t length, uint64_t seed)
{
    uint64_t low = (ddbio_secret_pair(24) + seed) ^ ddbio_le64(at);
    uint64_t high = (ddbio_secret_pair(40) - seed) ^ ddbio_le64(at + length - 8);
    return ddbio_avalanche(length + ddbio_swap64(low) + high + ddbio_fold(low, high));
}

static inline uint64_t ddbio_mix(const uint8_t *at, const uint8_t *secret, uint64_t seed)
{
    return ddbio_fold(ddbio_le64(at) ^ (ddbio_le64(secret) + seed), ddbio_le64(at + 8) ^ (ddbio_le64(secret + 8) - seed));
}

/* One chunk from the beginning and one from the end: the pair with this number. */
static inline uint64_t ddbio_mix_ends(const uint8_t *at, const uint8_t *end, size_t pair, uint64_t seed)
{
    return ddbio_mix(at + pair * 16, ddbio_secret + pair * 32, seed) +
           ddbio_mix(end - pair * 16 - 16, ddbio_secret + pair * 32 + 16, seed);
}

static inline uint64_t ddbio_17_to_128(const uint8_t *at, size_t length, uint64_t seed)
{
    const uint8_t *end = at + length;
    uint64_t hash = length * DDBIO_PRIME64_1 + ddbio_mix_ends(at, end, 0, seed);
    if (length > 32)
        hash += ddbio_mix_ends(at, end, 1, seed);
    if (length > 64)
        hash += ddbio_mix_ends(at, end, 2, seed);
    if (length > 96)
        hash += ddbio_mix_ends(at, end, 3, seed);
    return ddbio_avalanche(hash);
}

static inline uint64_t ddbio_129_to_240(const uint8_t *at, size_t length, uint64_t seed)
{
    uint64_t hash = length * DDBIO_PRIME64_1;
    size_t chunk;
    for (chunk = 0; chunk < 8; chunk++)
        hash += ddbio_mix(at + chunk * 16, ddbio_secret + chunk * 16, seed);
    hash = ddbio_avalanche(hash);
    for (; chunk < length / 16; chunk++)
        hash += ddbio_mix(at + chunk * 16, ddbio_secret + (chunk - 8) * 16 + 3, seed);
    return ddbio_avalanche(hash + ddbio_mix(at + length - 16, ddbio_secret + 119, seed));
}

static inline void ddbio_put_le64(uint8_t *to, uint64_t value)
{
    value = ddbio_le64((const uint8_t *)&value);
    memcpy(to, &value, 8);
}

static inline void ddbio_accumulate(uint64_t lanes[8], const uint8_t *stripe, const uint8_t *secret)
{
    for (int lane = 0; lane < 8; lane++) {
        uint64_t word = ddbio_le64(stripe + lane * 8), keyed = word ^ ddbio_le64(secret + lane * 8);
        lanes[lane ^ 1] += word;
        lanes[lane] += (uint32_t)keyed * (keyed >> 32);
    }
}

static inline void ddbio_scramble(uint64_t lanes[8], const uint8_t *secret)
{
    for (int lane = 0; lane < 8; lane++)
        lanes[lane] = (lanes[lane] ^ lanes[lane] >> 47 ^ ddbio_le64(secret + lane * 8)) * DDBIO_PRIME32_1;
}

static inline uint64_t ddbio_merge(const uint64_t lanes[8], const uint8_t *secret, size_t length)
{
    uint64_t hash = length * DDBIO_PRIME64_1;
    for (int lane = 0; lane < 8; lane += 2)
        hash += ddbio_fold(lanes[lane] ^ ddbio_le64(secret + lane * 8),
                           lanes[lane + 1] ^ ddbio_le64(secret + lane * 8 + 8));
    return ddbio_avalanche(hash);
}

/* More than 240 bytes: stripes of 64, 16 of them a block. */
static inline uint64_t ddbio_stripes(const uint8_t *at, size_t length, uint64_t seed)
{
    uint64_t lanes[8] = {DDBIO_PRIME32_3, DDBIO_PRIME64_1, DDBIO_PRIME64_2, DDBIO_PRIME64_3,
                         DDBIO_PRIME64_4, DDBIO_PRIME32_2, DDBIO_PRIME64_5, DDBIO_PRIME32_1};
    uint8_t secret[192];
    size_t stripe, last = (length - 1) / 64;
    for (size_t offset = 0; offset < 192; offset += 16) {
        ddbio_put_le64(secret + offset, ddbio_le64(ddbio_secret + offset) + seed);
        ddbio_put_le64(secret + offset + 8, ddbio_le64(ddbio_secret + offset + 8) - seed);
    }
    for (stripe = 0; stripe < last; stripe++) {
        ddbio_accumulate(lanes, at + stripe * 64, secret + stripe % 16 * 8);
        if (stripe % 16 == 15)
            ddbio_scramble(lanes, secret + 128);
    }
    ddbio_accumulate(lanes, at + length - 64, secret + 121);
    return ddbio_merge(lanes, secret + 11, length);
}

static DDBIO_RARE uint64_t ddbio_xxh3_long(const uint8_t *at, size_t length, uint64_t seed)
{
    return length > 240 ? ddbio_stripes(at, length, seed) : ddbio_129_to_240(at, length, seed);
}

static inline uint64_t ddbio_xxh3_short(const uint8_t *at, size_t length, uint64_t seed)
{
    if (length > 8)
        return ddbio_9_to_16(at, length, seed);
    if (length > 3)
        return ddbio_4_to_8(ddbio_le32(at), ddbio_le32(at + length - 4), length, seed);
    if (length == 0)
        return ddbio_avalanche_xxh64(seed ^ ddbio_secret_pair(56));
    return ddbio_1_to_3(at[length - 1] | length << 8 | (uint64_t)at[0] << 16 | (uint64_t)at[length >> 1] << 24, seed);
}

static inline uint64_t ddbio_xxh3(const uint8_t *at, size_t length, uint64_t seed)
{
    if (length <= 16)
        return ddbio_xxh3_short(at, length, seed);
    return length <= 128 ? ddbio_17_to_128(at, length, seed) : ddbio_xxh3_long(at, length, seed);
}

/* The hash of three to eight bytes that are in a word, the least significant first. */
static inline uint64_t ddbio_xxh3_word(uint64_t word, size_t length, uint64_t seed)
{
    if (length > 3)
        return ddbio_4_to_8((uint32_t)word, word >> 8 * (length - 4), length, seed);
    return ddbio_1_to_3((word & 0xff) << 16 | (word & 0xff00) << 16 | 3 << 8 | word >> 16, seed);
}

/* The hash of the eight bytes of a number, the least significant first. */
static inline uint64_t ddbio_xxh3_of(uint64_t value, uint64_t seed)
{
    return ddbio_4_to_8((uint32_t)value, value >> 32, 8, seed);
}

#endif
