# What a JSON text is made of: the counterpart of reference/lexical.py and of numbers.py.

ctypedef const uint8_t *cursor

cdef enum Verdict:
    FINE, NOT_JSON, NOT_AN_OBJECT, INVALID_UTF8, LONE_SURROGATE, DUPLICATE_MEMBER, KEY_MISSING, KEY_EMPTY
    KEY_TOO_LONG, KEY_WRONG_TYPE, ITEM_TOO_LARGE, NESTING_TOO_DEEP, NUMBER_INVALID, NUMBER_TOO_PRECISE
    NUMBER_OUT_OF_RANGE, SET_EMPTY, SET_DUPLICATE, BINARY_INVALID, TYPE_INVALID, NO_MEMORY

cdef struct Text:
    cursor begin
    cursor end
    Verdict verdict
    Py_ssize_t position

cdef struct Number:
    bint negative
    int count
    int exponent
    cursor first


cdef inline cursor fail(Text *t, Verdict verdict, cursor at) noexcept nogil:
    """Note the fault; every reader answers NULL from then on."""
    t.verdict = verdict
    t.position = at - t.begin
    return NULL


cdef inline bint stands(Text *t, cursor at, uint8_t byte) noexcept nogil:
    return at < t.end and at[0] == byte


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return <uint8_t>(byte - c'0') < 10


cdef inline cursor space(Text *t, cursor at) noexcept nogil:
    while at < t.end and at[0] <= c' ' and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at


cdef inline cursor expect(Text *t, cursor at, uint8_t byte) noexcept nogil:
    at = space(t, at)
    return at + 1 if stands(t, at, byte) else fail(t, NOT_JSON, at)


cdef inline bint begins_value(Text *t, cursor at) noexcept nogil:
    return at < t.end and (at[0] in b'{["-tfn' or is_digit(at[0]))


cdef inline bint spells(Text *t, cursor at, const char *word, Py_ssize_t length) noexcept nogil:
    return t.end - at >= length and memcmp(at, word, length) == 0


cdef inline Py_ssize_t literal(Text *t, cursor at) noexcept nogil:
    """The length of the `true`, `false` or `null` at `at`, or 0."""
    if spells(t, at, b"true", 4) or spells(t, at, b"null", 4):
        return 4
    return 5 if spells(t, at, b"false", 5) else 0


cdef inline int hex_digit(uint8_t byte) noexcept nogil:
    if is_digit(byte):
        return byte - c'0'
    byte |= 0x20
    return byte - c'a' + 10 if c'a' <= byte <= c'f' else -1


cdef inline int hex_quad(cursor at) noexcept nogil:
    cdef int value = 0, digit, index
    for index in range(4):
        digit = hex_digit(at[index])
        if digit < 0:
            return -1
        value = value << 4 | digit
    return value


cdef int escape(cursor at, cursor end, uint32_t *code) noexcept nogil:
    """The length of the escape at `at`, or 0 where it is none; `code` is LONE for half of a surrogate pair."""
    cdef int unit, low
    if end - at < 2:
        return 0
    code[0] = at[1]
    if at[1] in b'"\\/':
        return 2
    if at[1] in b"bfnrt":
        code[0] = 8 if at[1] == c'b' else 12 if at[1] == c'f' else 10 if at[1] == c'n' else 13 if at[1] == c'r' else 9
        return 2
    unit = hex_quad(at + 2) if at[1] == c'u' and end - at >= 6 else -1
    if unit < 0:
        return 0
    code[0] = unit
    if unit < 0xD800 or unit > 0xDFFF:
        return 6
    low = hex_quad(at + 8) if end - at >= 12 and at[6] == c'\\' and at[7] == c'u' else -1
    if unit > 0xDBFF or low < 0xDC00 or low > 0xDFFF:
        code[0] = LONE
        return 6
    code[0] = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
    return 12


cdef inline int put_utf8(uint8_t *to, uint32_t code) noexcept nogil:
    if code < 0x80:
        to[0] = code
        return 1
    if code < 0x800:
        to[0] = 0xC0 | code >> 6
        to[1] = 0x80 | code & 0x3F
        return 2
    if code < 0x10000:
        to[0] = 0xE0 | code >> 12
        to[1] = 0x80 | code >> 6 & 0x3F
        to[2] = 0x80 | code & 0x3F
        return 3
    to[0] = 0xF0 | code >> 18
    to[1] = 0x80 | code >> 12 & 0x3F
    to[2] = 0x80 | code >> 6 & 0x3F
    to[3] = 0x80 | code & 0x3F
    return 4


cdef cursor number_end(Text *t, cursor at) noexcept nogil:
    """The end of the longest JSON number at `at`."""
    cdef cursor begin = at, end
    if stands(t, at, c'-'):
        at += 1
    if at == t.end or not is_digit(at[0]):
        return fail(t, NOT_JSON, begin)
    at += 1
    if (at - 1)[0] != c'0':
        while at < t.end and is_digit(at[0]):
            at += 1
    end = at
    if stands(t, at, c'.'):
        at += 1
        while at < t.end and is_digit(at[0]):
            at += 1
            end = at
    at = end
    if at < t.end and at[0] | 0x20 == c'e':
        at += 1
        if at < t.end and (at[0] == c'+' or at[0] == c'-'):
            at += 1
        while at < t.end and is_digit(at[0]):
            at += 1
            end = at
    return end


cdef Verdict read_number(cursor at, cursor end, Number *number) noexcept nogil:
    """The number that the service sees in these bytes, or why it sees none."""
    cdef cursor whole, fraction, digits, last
    cdef Py_ssize_t width, places, leading, count
    cdef int64_t power = 0
    cdef bint below = False
    number.negative = at < end and at[0] == c'-'
    if at < end and (at[0] == c'-' or at[0] == c'+'):
        at += 1
    whole = at
    while at < end and is_digit(at[0]):
        at += 1
    width = at - whole
    fraction = at
    if at < end and at[0] == c'.':
        at += 1
        fraction = at
        while at < end and is_digit(at[0]):
            at += 1
    places = at - fraction
    if width + places == 0:
        return NUMBER_INVALID
    last = at
    if at < end and at[0] | 0x20 == c'e':
        at += 1
        below = at < end and at[0] == c'-'
        if at < end and (at[0] == c'-' or at[0] == c'+'):
            at += 1
        digits = at
        while at < end and is_digit(at[0]):
            power = min(power * 10 + (at[0] - c'0'), POWER_LIMIT)
            at += 1
        if at == digits:
            return NUMBER_INVALID
    if at != end:
        return NUMBER_INVALID
    number.first = whole
    leading = 0
    while number.first < last and (number.first[0] == c'0' or number.first[0] == c'.'):
        leading += number.first[0] == c'0'
        number.first += 1
    while last > number.first and ((last - 1)[0] == c'0' or (last - 1)[0] == c'.'):
        last -= 1
    count = last - number.first
    if count == 0:
        number.negative = False
        number.count = number.exponent = 0
        return FINE
    if number.first < fraction - 1 and last > fraction:
        count -= 1
    if count > MAX_DIGITS:
        return NUMBER_TOO_PRECISE
    power = width - 1 - leading + (-power if below else power)
    if power < MIN_EXPONENT or power > MAX_EXPONENT:
        return NUMBER_OUT_OF_RANGE
    number.count = <int>count
    number.exponent = <int>power
    return FINE


cdef inline int number_size(Number *number) noexcept nogil:
    if number.count == 0:
        return 1
    return 1 + (number.count + 1) // 2 + (number.count % 2 == 0 and number.exponent % 2 == 0) + number.negative


cdef uint8_t *put_canonical(uint8_t *to, Number *number) noexcept nogil:
    """Write the number as `_numbers.Number.canonical` does; return the end of it."""
    cdef cursor digit = number.first
    cdef int left = number.count, power = number.exponent
    if left == 0:
        to[0] = c'0'
        return to + 1
    if number.negative:
        to[0] = c'-'
        to += 1
    while left:
        if digit[0] != c'.':
            to[0] = digit[0]
            to += 1
            left -= 1
        digit += 1
    to[0] = c'e'
    to += 1
    if power < 0:
        to[0] = c'-'
        to += 1
        power = -power
    if power >= 100:
        to[0] = c'0' + power // 100
        to += 1
    if power >= 10:
        to[0] = c'0' + power // 10 % 10
        to += 1
    to[0] = c'0' + power % 10
    return to + 1
