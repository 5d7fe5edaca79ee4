# The fingerprint of items: the counterpart of `fingerprint.py`, which says what it is. It reads text that is known to
# be valid.

cdef enum:
    # Digits of a whole number that is written in the most usual way.
    USUAL_DIGITS = 18
    # Names whose hashes are kept: items mostly have the same ones.
    KNOWN_NAMES = 64

cdef struct KnownName:
    cursor text
    Py_ssize_t length
    uint64_t hash

cdef struct Printer:
    # Whether items are to be printed at all, room for decoded strings, and the sum so far of an item's attributes.
    bint wanted
    uint8_t *room
    bint starved
    uint64_t attributes
    uint64_t items
    KnownName[KNOWN_NAMES] names


cdef inline uint64_t seed_of(uint64_t place, Kind kind) noexcept nogil:
    return place + PRINT_TAGS[<int>kind]


cdef uint64_t print_number(cursor at, Py_ssize_t length, uint64_t seed) noexcept nogil:
    """The hash of a number by its value; of what is no number, as it is spelled."""
    cdef uint8_t[64] canonical
    cdef uint8_t *to = canonical
    cdef Number number
    cdef Py_ssize_t digits = 0
    if 0 < length <= USUAL_DIGITS and at[0] != c'0':
        while digits < length and is_digit(at[digits]):
            canonical[digits] = at[digits]
            digits += 1
        if digits == length:
            while canonical[digits - 1] == c'0':
                digits -= 1
            to += digits
            to[0] = c'e'
            to += 1
            if length > 10:
                to[0] = c'1'
                to += 1
            to[0] = c'0' + (length - 1) % 10
            return xxh64(canonical, to + 1 - canonical, seed)
    if read_number(at, at + length, &number) != FINE:
        return xxh64(at, length, seed)
    return xxh64(canonical, put_canonical(canonical, &number) - canonical, seed)


cdef inline uint64_t print_name(Printer *f, cursor at, Py_ssize_t length) noexcept nogil:
    """The hash of a name without escapes."""
    cdef KnownName *known
    if length == 0:
        return xxh64(at, 0, 0)
    known = &f.names[(at[length - 1] + 7 * at[0] + 31 * length) % KNOWN_NAMES]
    if known.length != length or not same_bytes(known.text, at, length):
        known.text, known.length, known.hash = at, length, xxh64(at, length, 0)
    return known.hash


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
    return print_number(f.room, to - f.room, seed) if kind == N else xxh64(f.room, to - f.room, seed)


cdef uint64_t print_string(Text *t, Printer *f, cursor *at, Kind kind, uint64_t seed) noexcept nogil:
    """The hash of the string at `at`, which is moved behind it."""
    cdef cursor begin = at[0] + 1, end = begin + plain_length(begin, t.end)
    if end[0] == c'"':
        at[0] = end + 1
        return print_number(begin, end - begin, seed) if kind == N else xxh64(begin, end - begin, seed)
    while end[0] != c'"':
        end += 2
        end += plain_length(end, t.end)
    at[0] = end + 1
    return print_escaped(t, f, begin, end - begin, kind, seed)


cdef bint goes_on(Text *t, cursor *at) noexcept nogil:
    """Step over a comma, and answer True; or over a closing bracket."""
    at[0] = space(t, at[0]) + 1
    if (at[0] - 1)[0] != c',':
        return False
    at[0] = space(t, at[0])
    return True


cdef bint begins(Text *t, cursor *at) noexcept nogil:
    """Step over an opening bracket; False where the closing one follows, which is stepped over too."""
    at[0] = space(t, at[0] + 1)
    if at[0][0] != c'}' and at[0][0] != c']':
        return True
    at[0] += 1
    return False


cdef uint64_t print_member(Text *t, Printer *f, cursor *at) noexcept nogil:
    """The hash of an attribute, or of a map's member, whose name is at `at`."""
    cdef cursor name = at[0] + 1
    cdef Py_ssize_t length = plain_length(name, t.end)
    cdef uint64_t place
    if name[length] == c'"':
        place = print_name(f, name, length)
        at[0] = name + length + 1
    else:
        place = print_string(t, f, at, S, 0)
    at[0] = space(t, space(t, at[0]) + 1)
    return print_value(t, f, at, place)


cdef uint64_t print_value(Text *t, Printer *f, cursor *at, uint64_t place) noexcept nogil:
    """The hash of the attribute value at `at`."""
    cdef cursor name = space(t, at[0] + 1) + 1, end = name
    cdef Kind kind
    cdef uint64_t seed, printed
    while end[0] != c'"':
        end += 1
    kind = type_of(name, end - name)
    seed = seed_of(place, kind)
    at[0] = space(t, space(t, end + 1) + 1)
    if kind == S or kind == N or kind == B:
        printed = print_string(t, f, at, kind, seed)
    elif kind == BOOL:
        printed = xxh64(at[0], 4 + (at[0][0] == c'f'), seed)
        at[0] += 4 + (at[0][0] == c'f')
    elif kind == NULL_:
        printed = xxh64(at[0], 0, seed)
        at[0] += 4
    else:
        printed = xxh64_of(print_elements(t, f, at, kind), seed)
    at[0] = space(t, at[0]) + 1
    return printed


cdef uint64_t print_elements(Text *t, Printer *f, cursor *at, Kind kind) noexcept nogil:
    """The sum over a map or a set, or what a list comes to."""
    cdef uint64_t total = 0
    cdef Kind element = N if kind == NS else S
    if not begins(t, at):
        return 0
    while True:
        if kind == M:
            total += print_member(t, f, at)
        elif kind == L:
            total = print_value(t, f, at, total)
        else:
            total += print_string(t, f, at, element, 0)
        if not goes_on(t, at):
            return total


cdef inline void print_attribute(Printer *f, Kind kind, cursor name, Py_ssize_t length, cursor value,
                                 Py_ssize_t width) noexcept nogil:
    """Add an attribute of type S, N or B without escapes."""
    cdef uint64_t seed = seed_of(print_name(f, name, length), kind)
    f.attributes += print_number(value, width, seed) if kind == N else xxh64(value, width, seed)


cdef inline void print_item(Printer *f) noexcept nogil:
    """Add the item whose attributes have been added."""
    f.items += xxh64_of(f.attributes, seed_of(0, M))
    f.attributes = 0
