# The fingerprint of items: the counterpart of reference/fingerprint.py; fingerprint.py specifies it.

cdef enum:
    # Digits of a whole number whose canonical form fits into a word, and bytes of one that is written without exponent.
    WHOLE_LENGTH = 6
    USUAL_LENGTH = 40

cdef struct Printer:
    # Whether items are to be printed at all, what the value read last came to (of a map's members or a list's elements
    # what they come to together), the sum over all items, and room for decoded strings.
    bint wanted
    uint64_t last
    uint64_t items
    uint8_t *room
    bint starved


cdef inline uint64_t seed_of(uint64_t place, Kind kind) noexcept nogil:
    return place + PRINT_SEEDS[<int>kind]


cdef inline uint8_t *put_usual(uint8_t *to, cursor at, cursor end) noexcept nogil:
    """The canonical form of a number other than zero that is written without an exponent; NULL for any other text."""
    cdef uint8_t *digits
    cdef int power = -1
    if at < end and at[0] == c'-':
        to[0] = c'-'
        to += 1
        at += 1
    digits = to
    if end - at > 2 and at[0] == c'0' and at[1] == c'.':
        at += 2
        while at < end and at[0] == c'0':
            at += 1
            power -= 1
    elif at < end and c'1' <= at[0] <= c'9':
        while at < end and is_digit(at[0]):
            to[0] = at[0]
            to += 1
            at += 1
        power = <int>(to - digits) - 1
        if end - at > 1 and at[0] == c'.':
            at += 1
    else:
        return NULL
    while at < end and is_digit(at[0]):
        to[0] = at[0]
        to += 1
        at += 1
    if at != end or to == digits or to - digits > MAX_DIGITS:
        return NULL
    while (to - 1)[0] == c'0':
        to -= 1
    to[0] = c'e'
    to += 1
    if power < 0:
        to[0] = c'-'
        to += 1
        power = -power
    if power > 9:
        to[0] = c'0' + power // 10
        to += 1
    to[0] = c'0' + power % 10
    return to + 1


cdef inline int whole_form(cursor at, Py_ssize_t length, uint64_t *form) noexcept nogil:
    """The length of the canonical form, and itself in a word, of a whole number of `length`, 1 to 6, digits, the first
    of which is no 0; 0 for any other text. Most numbers are that: this is without a branch for each digit.
    """
    cdef uint64_t zeros = <uint64_t>0x3030303030303030, digits
    cdef int count = <int>length
    if length > 3:
        digits = le32(at) | le32(at + length - 4) << 8 * (length - 4)
    else:
        digits = (at[0] | <uint64_t>at[length >> 1] << 8 * (length >> 1)
                  | <uint64_t>at[length - 1] << 8 * (length - 1))
    digits ^= zeros >> 8 * (8 - length)
    if ((digits + <uint64_t>0x7676767676767676) | digits) & <uint64_t>0x8080808080808080 or not digits & 0xFF:
        return 0
    while not digits >> 8 * (count - 1):
        count -= 1
    form[0] = digits | zeros >> 8 * (8 - count) | <uint64_t>(c'e' | (c'0' + length - 1) << 8) << 8 * count
    return count + 2


cdef inline uint64_t print_number(cursor at, Py_ssize_t length, uint64_t seed) noexcept nogil:
    """The hash of a number by its value; of what is no number, as it is spelled."""
    cdef uint64_t form
    cdef int width = whole_form(at, length, &form) if 0 < length <= WHOLE_LENGTH else 0
    return xxh3_word(form, width, seed) if width else print_any_number(at, length, seed)


cdef uint64_t print_any_number(cursor at, Py_ssize_t length, uint64_t seed) noexcept nogil:
    cdef uint8_t[64] canonical
    cdef uint8_t *end = put_usual(canonical, at, at + length) if length <= USUAL_LENGTH else NULL
    cdef Number number
    if end == NULL:
        if read_number(at, at + length, &number) != FINE:
            return xxh3(at, length, seed)
        end = put_canonical(canonical, &number)
    return xxh3(canonical, end - canonical, seed)


cdef uint64_t print_escaped(Text *t, Printer *f, cursor at, Py_ssize_t length, Kind kind, uint64_t seed) noexcept nogil:
    """The hash of a string with escapes."""
    cdef cursor end = at + length
    cdef uint8_t *to
    cdef uint32_t code = 0
    if f.room == NULL:
        f.room = <uint8_t *>PyMem_RawMalloc(t.end - t.begin)
        if f.room == NULL:
            f.starved = True
            return 0
    to = f.room
    while at < end:
        if at[0] == c'\\':
            at += escape(at, end, &code)
            to += put_utf8(to, c'?' if code == LONE else code)
        else:
            to[0] = at[0]
            to += 1
            at += 1
    return print_number(f.room, to - f.room, seed) if kind == N else xxh3(f.room, to - f.room, seed)


cdef inline uint64_t print_text(Text *t, Printer *f, cursor at, Py_ssize_t length, Kind kind,
                                uint64_t seed) noexcept nogil:
    """The hash of what stands between two quotes."""
    if memchr(at, c'\\', length) != NULL:
        return print_escaped(t, f, at, length, kind, seed)
    return print_number(at, length, seed) if kind == N else xxh3(at, length, seed)


cdef inline uint64_t place_of(Text *t, Printer *f, cursor name, Py_ssize_t length) noexcept nogil:
    """The place of the value of a member with this name."""
    if memchr(name, c'\\', length) != NULL:
        return print_escaped(t, f, name, length, S, 0)
    return xxh3(name, length, 0)


cdef inline void print_usual(Printer *f, Kind kind, cursor name, Py_ssize_t length, cursor value,
                             Py_ssize_t width) noexcept nogil:
    """The hash of an attribute of type S, N or B without escapes."""
    cdef uint64_t seed = seed_of(xxh3(name, length, 0), kind)
    f.last = print_number(value, width, seed) if kind == N else xxh3(value, width, seed)
