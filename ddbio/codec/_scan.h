/* The byte loops of the native codec: plain C, because they want the machine's vector instructions. */

#ifndef DDBIO_SCAN_H
#define DDBIO_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && defined(__GNUC__)
#include <emmintrin.h>
#define DDBIO_SSE2 1
#endif

/* Bytes of a record up to which it is not worth to let go of the GIL, and for which an encoder keeps its room. */
#ifndef DDBIO_SMALL_RECORD
#define DDBIO_SMALL_RECORD (1 << 14)
#endif

/* What an escape stands for that is half of a surrogate pair. */
#define DDBIO_LONE UINT32_MAX

/* Stands for every greater power of ten: no text is long enough to bring one back into range. */
#define DDBIO_POWER_LIMIT INT64_C(1000000000000000)

/* Every `copy` below may write up to this many bytes more than it says. */
#define DDBIO_SLACK 16

static inline int ddbio_is_plain(uint8_t byte) { return byte >= 0x20 && byte != '"' && byte != '\\'; }

/* Copy the bytes of a string up to its first quote, backslash or control character; return how many. */
static inline size_t ddbio_copy_plain(uint8_t *to, const uint8_t *from, const uint8_t *end)
{
    const uint8_t *at = from;
#ifdef DDBIO_SSE2
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    for (; end - at >= 16; at += 16, to += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                                     _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
        int mask = _mm_movemask_epi8(found);
        _mm_storeu_si128((__m128i *)to, bytes);
        if (mask)
            return (size_t)(at - from) + (size_t)__builtin_ctz((unsigned)mask);
    }
#else
    for (; end - at >= 8; at += 8, to += 8) {
        uint64_t bytes, ones = 0x0101010101010101u, highs = 0x8080808080808080u;
        memcpy(&bytes, at, 8);
        uint64_t quote = bytes ^ (ones * '"'), backslash = bytes ^ (ones * '\\');
        uint64_t found = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((bytes - ones * 0x20) & ~bytes);
        memcpy(to, &bytes, 8);
        if (found & highs)
            break;
    }
#endif
    for (; at < end && ddbio_is_plain(*at); at++)
        *to++ = *at;
    return (size_t)(at - from);
}

/* Copy `length` bytes that lie before `end`. */
static inline void ddbio_copy(uint8_t *to, const uint8_t *from, size_t length, const uint8_t *end)
{
    if (length <= 16 && end - from >= 16)
        memcpy(to, from, 16);
    else
        memcpy(to, from, length);
}

/* Whether two names of this length are the same; they are mostly short, so it is not worth to call memcmp. */
static inline int ddbio_same(const uint8_t *one, const uint8_t *other, size_t length)
{
    uint64_t a, b;
    size_t at = 0;
    if (length < 8) {
        while (at < length && one[at] == other[at])
            at++;
        return at == length;
    }
    for (; at < length; at += 8) {
        size_t from = at + 8 <= length ? at : length - 8;
        memcpy(&a, one + from, 8);
        memcpy(&b, other + from, 8);
        if (a != b)
            return 0;
    }
    return 1;
}

/* The letter of the type, where `":{"S":"` or its like stands in the eight bytes at `at`; else 0. */
static inline uint8_t ddbio_opening(const uint8_t *at)
{
    uint64_t bytes, letter, wanted;
    memcpy(&bytes, at, 8);
    memcpy(&letter, "\0\0\0\0\377\0\0\0", 8);
    memcpy(&wanted, "\":{\"\0\":\"", 8);
    return (bytes & ~letter) == wanted ? at[4] : 0;
}

/* The length of the UTF-8 sequence at `at`, or 0 where none begins there. */
static inline int ddbio_sequence(const uint8_t *at, const uint8_t *end)
{
    ptrdiff_t left = end - at;
    uint8_t first = at[0], second = left > 1 ? at[1] : 0;
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4 || (second & 0xc0) != 0x80)
        return 0;
    if (first < 0xe0)
        return 2;
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f) || left < 3 || (at[2] & 0xc0) != 0x80)
        return 0;
    if (first < 0xf0)
        return 3;
    return left > 3 && (at[3] & 0xc0) == 0x80 ? 4 : 0;
}

#ifdef DDBIO_SSE2
static inline int ddbio_ascii_block(const uint8_t *at)
{
    const __m128i *block = (const __m128i *)at;
    return !_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(_mm_loadu_si128(block), _mm_loadu_si128(block + 1)),
                                           _mm_or_si128(_mm_loadu_si128(block + 2), _mm_loadu_si128(block + 3))));
}
#endif

/* The first byte that begins no valid UTF-8 sequence, or `end`. */
static inline const uint8_t *ddbio_invalid_utf8(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
#ifdef DDBIO_SSE2
        if (end - at >= 16) {
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at));
            at += mask ? __builtin_ctz(mask) : 16;
            if (!mask) {
                while (end - at >= 64 && ddbio_ascii_block(at))
                    at += 64;
                continue;
            }
        }
#else
        uint64_t bytes;
        if (end - at >= 8 && (memcpy(&bytes, at, 8), !(bytes & 0x8080808080808080u))) {
            at += 8;
            continue;
        }
#endif
        int length;
        do {
            length = ddbio_sequence(at, end);
            if (!length)
                return at;
            at += length;
        } while (length > 1 && at < end);
    }
    return end;
}

/* SipHash-1-3 (Aumasson and Bernstein): names come from files that may mean harm. */
static inline uint64_t ddbio_rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

static inline void ddbio_sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = ddbio_rotate(v[1], 13) ^ v[0], v[0] = ddbio_rotate(v[0], 32);
    v[2] += v[3], v[3] = ddbio_rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = ddbio_rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = ddbio_rotate(v[1], 17) ^ v[2], v[2] = ddbio_rotate(v[2], 32);
}

static inline uint64_t ddbio_hash(const uint8_t *text, size_t length, uint64_t key0, uint64_t key1)
{
    uint64_t v[4] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du, key0 ^ 0x6c7967656e657261u,
                     key1 ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)length << 56, word;
    for (; length >= 8; length -= 8, text += 8) {
        memcpy(&word, text, 8);
        v[3] ^= word;
        ddbio_sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, text, length);
    last |= word;
    v[3] ^= last;
    ddbio_sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    ddbio_sip_round(v);
    ddbio_sip_round(v);
    ddbio_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
