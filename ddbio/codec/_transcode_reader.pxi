# A record on its way to a put: what is known of it, its strings and scalars. See reference/item.py.

cdef enum Kind:
    OTHER, S, N, B, BOOL, NULL_, M, L, SS, NS, BS

cdef enum Format:
    AUTO, PLAIN, TYPED

cdef enum:
    # So many names of an object are looked through one by one; more of them go into a table.
    FEW = 16
    # More than the levels that objects and sets can open.
    SCOPES = 36

cdef struct Hint:
    # What a path was hinted to be, the path of its elements (-1 without hints), and its members among all names.
    Kind kind
    int elements
    int first
    int count

cdef struct HintName:
    cursor text
    Py_ssize_t length
    int hint

cdef struct Key:
    cursor text
    Py_ssize_t length
    Kind type
    Py_ssize_t limit
    bint required

cdef struct Schema:
    Key *keys
    int key_count
    Hint *hints
    HintName *names

cdef struct Piece:
    cursor text
    Py_ssize_t length

cdef struct Room:
    # What a record needs: room for its put, for its keys, and behind those for what is decoded of it.
    uint8_t *put
    Piece *found

cdef struct Slot:
    cursor text
    Py_ssize_t length
    uint64_t hash
    uint32_t scope

cdef struct Scope:
    # The names of one object, or the elements of one set. `number` tells scopes apart in the table, 0 while not in it.
    Piece *few
    Py_ssize_t count
    uint32_t number

cdef struct Reader:
    Text text
    Schema *schema
    # The checked values of the key attributes, in canonical form; those not met are NULL.
    Piece *found
    int faulty_key
    # Where the item is written to, and where decoded strings and canonical numbers go.
    uint8_t *to
    uint8_t *spare
    Py_ssize_t size
    # The string read last, decoded, and what kind of key the value read last could be.
    cursor content
    Py_ssize_t length
    Py_ssize_t raw_length
    Number number
    Kind kind
    Piece few[SCOPES][FEW]
    Slot *table
    size_t room
    size_t filled
    uint32_t scopes


cdef inline void put(Reader *r, const char *text, Py_ssize_t length) noexcept nogil:
    memcpy(r.to, text, length)
    r.to += length


cdef inline void put_byte(Reader *r, uint8_t byte) noexcept nogil:
    r.to[0] = byte
    r.to += 1


cdef cursor read_string(Reader *r, cursor at) noexcept nogil:
    """Copy the string at `at`; leave its UTF-8 in `content`, which is a piece of the record where it has no escape."""
    cdef Text *t = &r.text
    cdef uint8_t *to = r.to
    cdef Py_ssize_t plain
    if not stands(t, at, c'"'):
        return fail(t, NOT_JSON, at)
    at += 1
    to[0] = c'"'
    plain = copy_plain(to + 1, at, t.end)
    r.content = at
    r.length = plain
    at += plain
    to += plain + 1
    r.to = to
    if not stands(t, at, c'"'):
        return read_escapes(r, at)
    to[0] = c'"'
    r.to = to + 1
    return at + 1


cdef cursor read_escapes(Reader *r, cursor at) noexcept nogil:
    """Go on with a string from its first escape on."""
    cdef Text *t = &r.text
    cdef uint8_t *to = r.to
    cdef uint8_t *decoded = r.spare
    cdef Py_ssize_t plain
    cdef uint32_t code = 0
    cdef int length
    memcpy(decoded, r.content, r.length)
    decoded += r.length
    while stands(t, at, c'\\'):
        length = escape(at, t.end, &code)
        if length == 0 or code == LONE:
            return fail(t, LONE_SURROGATE if length else NOT_JSON, at)
        decoded += put_utf8(decoded, code)
        memcpy(to, at, length)
        at += length
        to += length
        plain = copy_plain(to, at, t.end)
        memcpy(decoded, at, plain)
        at += plain
        to += plain
        decoded += plain
    if not stands(t, at, c'"'):
        return fail(t, NOT_JSON, at)
    to[0] = c'"'
    r.to = to + 1
    r.content = r.spare
    r.length = decoded - r.spare
    r.spare = decoded
    return at + 1


cdef inline bint same(cursor one, Py_ssize_t length, cursor other, Py_ssize_t other_length) noexcept nogil:
    return length == other_length and same_bytes(one, other, length)


cdef inline bint named(cursor text, Py_ssize_t length, const char *word, Py_ssize_t word_length) noexcept nogil:
    return length == word_length and memcmp(text, word, length) == 0


# Names of an object and elements of a set, of which none may come twice.

cdef inline void open_scope(Reader *r, Scope *scope, int level) noexcept nogil:
    scope.few = r.few[level]
    scope.count = 0
    scope.number = 0


cdef inline Verdict enter(Reader *r, Scope *scope) noexcept nogil:
    """Add `content`; DUPLICATE_MEMBER where it is there already."""
    cdef Py_ssize_t index
    if scope.count == FEW:
        return enter_table(r, scope)
    for index in range(scope.count):
        if same(scope.few[index].text, scope.few[index].length, r.content, r.length):
            return DUPLICATE_MEMBER
    scope.few[scope.count].text = r.content
    scope.few[scope.count].length = r.length
    scope.count += 1
    return FINE


cdef Verdict enter_table(Reader *r, Scope *scope) noexcept nogil:
    cdef Py_ssize_t index
    cdef Verdict verdict
    if scope.number == 0:
        r.scopes += 1
        scope.number = r.scopes
        for index in range(FEW):
            verdict = enter_slot(r, scope.number, scope.few[index].text, scope.few[index].length)
            if verdict != FINE:
                return verdict
    return enter_slot(r, scope.number, r.content, r.length)


cdef Verdict enter_slot(Reader *r, uint32_t scope, cursor text, Py_ssize_t length) noexcept nogil:
    cdef uint64_t hashed
    cdef size_t index
    cdef Slot *slot
    if 2 * r.filled >= r.room and not grow_table(r):
        return NO_MEMORY
    hashed = hash_of(text, length, HASH_KEY[0], HASH_KEY[1]) + scope
    index = hashed & (r.room - 1)
    while r.table[index].scope != 0:
        slot = &r.table[index]
        if slot.hash == hashed and slot.scope == scope and same(slot.text, slot.length, text, length):
            return DUPLICATE_MEMBER
        index = (index + 1) & (r.room - 1)
    slot = &r.table[index]
    slot.text, slot.length, slot.hash, slot.scope = text, length, hashed, scope
    r.filled += 1
    return FINE


cdef bint grow_table(Reader *r) noexcept nogil:
    cdef size_t room = max(2 * r.room, <size_t>64), old, index
    cdef Slot *table = <Slot *>PyMem_RawCalloc(room, sizeof(Slot))
    if table == NULL:
        return False
    for old in range(r.room):
        if r.table[old].scope != 0:
            index = r.table[old].hash & (room - 1)
            while table[index].scope != 0:
                index = (index + 1) & (room - 1)
            table[index] = r.table[old]
    PyMem_RawFree(r.table)
    r.table = table
    r.room = room
    return True


# Base64

cdef Py_ssize_t base64_size(cursor text, Py_ssize_t length) noexcept nogil:
    """How many bytes the text spells, or -1 where the service would not take it."""
    cdef Py_ssize_t padding, index
    cdef uint8_t last
    if length == 0:
        return 0
    if length % 4 != 0:
        return -1
    padding = (text[length - 1] == c'=') + (text[length - 1] == c'=' and text[length - 2] == c'=')
    for index in range(length - padding):
        if SEXTETS[text[index]] > 63:
            return -1
    last = SEXTETS[text[length - padding - 1]]
    if (padding == 1 and last & 3) or (padding == 2 and last & 15):
        return -1
    return length // 4 * 3 - padding


cdef uint8_t *base64_decode(uint8_t *to, cursor text, Py_ssize_t length) noexcept nogil:
    """Write the bytes, and at most two more; the text is known to be good."""
    cdef Py_ssize_t index
    cdef uint32_t group
    for index in range(0, length, 4):
        group = (<uint32_t>SEXTETS[text[index]] << 18 | <uint32_t>SEXTETS[text[index + 1]] << 12
                 | (<uint32_t>SEXTETS[text[index + 2]] & 63) << 6 | (<uint32_t>SEXTETS[text[index + 3]] & 63))
        to[0] = group >> 16 & 255
        to[1] = group >> 8 & 255
        to[2] = group & 255
        to += 3
    return to


# Scalars

cdef inline cursor read_text(Reader *r, cursor at) noexcept nogil:
    at = read_string(r, at)
    r.size += r.length
    r.kind = S
    return at


cdef cursor read_binary(Reader *r, cursor at) noexcept nogil:
    cdef cursor begin = at
    at = read_string(r, at)
    if at == NULL:
        return NULL
    r.raw_length = base64_size(r.content, r.length)
    if r.raw_length < 0:
        return fail(&r.text, BINARY_INVALID, begin)
    r.size += r.raw_length
    r.kind = B
    return at


cdef inline bint judge_number(Reader *r, cursor digits, cursor end, cursor at) noexcept nogil:
    cdef Verdict verdict = read_number(digits, end, &r.number)
    if verdict != FINE:
        fail(&r.text, verdict, at)
        return False
    r.size += number_size(&r.number)
    r.kind = N
    return True


cdef cursor read_bare_number(Reader *r, cursor at) noexcept nogil:
    """A JSON number, written as a string."""
    cdef Text *t = &r.text
    cdef cursor end = number_end(t, at)
    if end == NULL or not judge_number(r, at, end, at):
        return NULL
    put_byte(r, c'"')
    copy(r.to, at, end - at, t.end)
    r.to += end - at
    put_byte(r, c'"')
    return end


cdef cursor read_quoted_number(Reader *r, cursor at) noexcept nogil:
    cdef cursor end = read_string(r, at)
    if end == NULL or not judge_number(r, r.content, r.content + r.length, at):
        return NULL
    return end
