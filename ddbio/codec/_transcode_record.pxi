# Records to puts: the counterpart of `_formats.py`, `_keys.py`, `_item.py`, `_plain.py` and `_typed.py`.

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


# Members, lists and sets

cdef cursor read_members(Reader *r, cursor at, int level, int hint, bint top, bint typed) noexcept nogil:
    """Read the members behind an opening brace; return the position behind the closing one."""
    cdef Text *t = &r.text
    cdef Scope scope
    cdef Verdict verdict
    cdef cursor begin
    cdef int key, child
    put_byte(r, c'{')
    at = space(t, at)
    if stands(t, at, c'}'):
        put_byte(r, c'}')
        return at + 1
    open_scope(r, &scope, level)
    while True:
        begin = space(t, at)
        at = read_string(r, begin)
        if at == NULL:
            return NULL
        verdict = enter(r, &scope)
        if verdict != FINE:
            return fail(t, verdict, begin)
        r.size += r.length + (level > 1)
        key = find_key(r) if top else -1
        child = find_hint(r, hint) if hint >= 0 else -1
        at = expect(t, at, c':')
        if at == NULL:
            return NULL
        put_byte(r, c':')
        begin = space(t, at)
        at = read_typed(r, begin, level) if typed else read_plain(r, begin, level, child)
        if at == NULL or (key >= 0 and not check_key(r, key, begin)):
            return NULL
        at = space(t, at)
        if stands(t, at, c','):
            put_byte(r, c',')
        elif stands(t, at, c'}'):
            put_byte(r, c'}')
            return at + 1
        else:
            return fail(t, NOT_JSON, at)
        at += 1


cdef cursor read_list(Reader *r, cursor at, int level, int hint, bint typed) noexcept nogil:
    cdef Text *t = &r.text
    r.size += 3
    put_byte(r, c'[')
    at = space(t, at + 1)
    if stands(t, at, c']'):
        put_byte(r, c']')
        return at + 1
    while True:
        r.size += 1
        at = space(t, at)
        at = read_typed(r, at, level + 1) if typed else read_plain(r, at, level + 1, hint)
        if at == NULL:
            return NULL
        at = space(t, at)
        if stands(t, at, c','):
            put_byte(r, c',')
        elif stands(t, at, c']'):
            put_byte(r, c']')
            return at + 1
        else:
            return fail(t, NOT_JSON, at)
        at += 1


cdef cursor read_set(Reader *r, cursor at, int level, Kind kind, bint typed) noexcept nogil:
    """A set is judged as a whole when its closing bracket is reached."""
    cdef Text *t = &r.text
    cdef Scope scope
    cdef Verdict verdict
    cdef cursor opening = at, begin, repeated = NULL
    put_byte(r, c'[')
    at = space(t, at + 1)
    if stands(t, at, c']'):
        return fail(t, SET_EMPTY, opening)
    open_scope(r, &scope, level + 1)
    while True:
        begin = space(t, at)
        at = read_element(r, begin, kind, typed)
        if at == NULL:
            return NULL
        verdict = enter(r, &scope)
        if verdict == NO_MEMORY:
            return fail(t, verdict, begin)
        if verdict == DUPLICATE_MEMBER and repeated == NULL:
            repeated = begin
        at = space(t, at)
        if stands(t, at, c','):
            put_byte(r, c',')
        elif stands(t, at, c']'):
            put_byte(r, c']')
            return fail(t, SET_DUPLICATE, repeated) if repeated != NULL else at + 1
        else:
            return fail(t, NOT_JSON, at)
        at += 1


cdef cursor read_element(Reader *r, cursor at, Kind kind, bint typed) noexcept nogil:
    """An element of a set; leave in `content` what tells it from the others."""
    cdef uint8_t *end
    if typed and not stands(&r.text, at, c'"'):
        return misfit(&r.text, at)
    if kind == SS:
        return read_text(r, at)
    if kind == BS:
        return read_binary(r, at)
    at = read_quoted_number(r, at) if typed else read_bare_number(r, at)
    if at != NULL:
        end = put_canonical(r.spare, &r.number)
        r.content = r.spare
        r.length = end - r.spare
        r.spare = end
    return at


# Plain JSON

cdef cursor read_plain(Reader *r, cursor at, int level, int hint) noexcept nogil:
    cdef Text *t = &r.text
    cdef uint8_t first
    if level > MAX_NESTING:
        return fail(t, NESTING_TOO_DEEP, at)
    if at == t.end:
        return fail(t, NOT_JSON, at)
    first = at[0]
    if first == c'"':
        if hint >= 0 and r.schema.hints[hint].kind == B:
            put(r, b'{"B":', 5)
            at = read_binary(r, at)
        else:
            put(r, b'{"S":', 5)
            at = read_text(r, at)
    elif first == c'{':
        put(r, b'{"M":', 5)
        r.size += 3
        at = read_members(r, at + 1, level + 1, hint, False, False)
        r.kind = OTHER
    elif first == c'[':
        at = read_array(r, at, level, hint)
        r.kind = OTHER
    elif first == c't' or first == c'f' or first == c'n':
        at = read_plain_literal(r, at)
    else:
        put(r, b'{"N":', 5)
        at = read_bare_number(r, at)
    put_byte(r, c'}')
    return at


cdef cursor read_plain_literal(Reader *r, cursor at) noexcept nogil:
    cdef Py_ssize_t length = literal(&r.text, at)
    if length == 0:
        return fail(&r.text, NOT_JSON, at)
    if at[0] == c'n':
        put(r, b'{"NULL":true', 12)
    else:
        put(r, b'{"BOOL":', 8)
        put(r, <const char *>at, length)
    r.size += 1
    r.kind = OTHER
    return at + length


cdef cursor read_array(Reader *r, cursor at, int level, int hint) noexcept nogil:
    """Where the hint says set, but the elements are not a set's (none, or of another kind), it is a list."""
    cdef uint8_t *to = r.to
    cdef uint8_t *spare = r.spare
    cdef Py_ssize_t size = r.size
    cdef Kind kind = r.schema.hints[hint].kind if hint >= 0 else OTHER
    cdef cursor end
    if kind == SS or kind == NS or kind == BS:
        put(r, b'{"SS":' if kind == SS else b'{"NS":' if kind == NS else b'{"BS":', 6)
        end = read_set(r, at, level, kind, False)
        if end != NULL or r.text.verdict == SET_DUPLICATE or r.text.verdict == NO_MEMORY:
            return end
        r.to, r.spare, r.size, r.text.verdict = to, spare, size, FINE
    put(r, b'{"L":', 5)
    return read_list(r, at, level, r.schema.hints[hint].elements if hint >= 0 else -1, False)


# DynamoDB JSON

cdef cursor misfit(Text *t, cursor at) noexcept nogil:
    """What is wrong where a value of another kind, or none at all, begins."""
    return fail(t, TYPE_INVALID if begins_value(t, at) else NOT_JSON, at)


cdef Kind type_of(cursor text, Py_ssize_t length) noexcept nogil:
    """The type that a decoded name is; OTHER for none."""
    if length == 1:
        return (S if text[0] == c'S' else N if text[0] == c'N' else B if text[0] == c'B' else M if text[0] == c'M'
                else L if text[0] == c'L' else OTHER)
    if length == 2 and text[1] == c'S':
        return SS if text[0] == c'S' else NS if text[0] == c'N' else BS if text[0] == c'B' else OTHER
    if length == 4:
        return BOOL if memcmp(text, b"BOOL", 4) == 0 else NULL_ if memcmp(text, b"NULL", 4) == 0 else OTHER
    return OTHER


cdef cursor read_typed(Reader *r, cursor at, int level) noexcept nogil:
    cdef Text *t = &r.text
    cdef Kind kind
    cdef uint8_t *to
    cdef cursor name
    if level > MAX_NESTING:
        return fail(t, NESTING_TOO_DEEP, at)
    if not stands(t, at, c'{'):
        return misfit(t, at)
    at = name = space(t, at + 1)
    if stands(t, at, c'}'):
        return fail(t, TYPE_INVALID, at)
    put(r, b'{"', 2)
    to = r.to
    r.to -= 1
    at = read_string(r, name)
    if at == NULL:
        return NULL
    kind = type_of(r.content, r.length)
    if kind == OTHER:
        return fail(t, TYPE_INVALID, name)
    memcpy(to, r.content, r.length)
    r.to = to + r.length
    put(r, b'":', 2)
    at = expect(t, at, c':')
    if at == NULL:
        return NULL
    at = read_content(r, space(t, at), level, kind)
    if at == NULL:
        return NULL
    at = space(t, at)
    if not stands(t, at, c'}'):
        return fail(t, TYPE_INVALID if stands(t, at, c',') else NOT_JSON, at)
    put_byte(r, c'}')
    return at + 1


cdef cursor read_content(Reader *r, cursor at, int level, Kind kind) noexcept nogil:
    """The value of an attribute value's only member."""
    cdef uint8_t opening = c'{' if kind == M else c'[' if kind >= L else c'"'
    if kind == BOOL or kind == NULL_:
        return read_typed_literal(r, at, kind)
    if not stands(&r.text, at, opening):
        return misfit(&r.text, at)
    if kind == S:
        return read_text(r, at)
    if kind == N:
        return read_quoted_number(r, at)
    if kind == B:
        return read_binary(r, at)
    if kind == M:
        r.size += 3
        at = read_members(r, at + 1, level + 1, -1, False, True)
    elif kind == L:
        at = read_list(r, at, level, -1, True)
    else:
        at = read_set(r, at, level, kind, True)
    r.kind = OTHER
    return at


cdef cursor read_typed_literal(Reader *r, cursor at, Kind kind) noexcept nogil:
    cdef Py_ssize_t length = literal(&r.text, at)
    if length == 0 or at[0] == c'n' or (kind == NULL_ and at[0] == c'f'):
        return misfit(&r.text, at)
    put(r, <const char *>at, length)
    r.size += 1
    r.kind = OTHER
    return at + length


# Keys and hints

cdef inline int find_key(Reader *r) noexcept nogil:
    """The key attribute whose name `content` is, or -1."""
    cdef int index
    for index in range(r.schema.key_count):
        if same(r.schema.keys[index].text, r.schema.keys[index].length, r.content, r.length):
            return index
    return -1


cdef int find_hint(Reader *r, int hint) noexcept nogil:
    """The hint for the member of this name, or -1. The names of a path are sorted by length, then by bytes."""
    cdef int low = r.schema.hints[hint].first, high = low + r.schema.hints[hint].count, middle, order
    cdef HintName *name
    while low < high:
        middle = (low + high) // 2
        name = &r.schema.names[middle]
        if name.length == r.length:
            order = memcmp(name.text, r.content, r.length)
        else:
            order = -1 if name.length < r.length else 1
        if order == 0:
            return name.hint
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return -1


cdef bint check_key(Reader *r, int index, cursor at) noexcept nogil:
    cdef Key *key = &r.schema.keys[index]
    cdef Piece *found = &r.found[index]
    cdef Py_ssize_t length = r.raw_length if r.kind == B else r.length
    cdef Verdict verdict = FINE
    if r.kind != key.type:
        verdict = KEY_WRONG_TYPE
    elif r.kind != N and length == 0:
        verdict = KEY_EMPTY
    elif r.kind != N and length > key.limit:
        verdict = KEY_TOO_LONG
    if verdict != FINE:
        r.faulty_key = index
        fail(&r.text, verdict, at)
        return False
    found.text = r.content if r.kind == S else r.spare
    if r.kind == N:
        r.spare = put_canonical(r.spare, &r.number)
        length = r.spare - found.text
    elif r.kind == B:
        r.spare = base64_decode(r.spare, r.content, r.length)
    found.length = length
    return True


# The format of a record: a look ahead that judges nothing

cdef cursor skip_string(Reader *r, cursor at) noexcept nogil:
    """The position behind the string at `at`, or the end of the record."""
    cdef Text *t = &r.text
    at += 1
    while True:
        at += copy_plain(r.to, at, t.end)
        if at == t.end or (at[0] == c'\\' and t.end - at < 2):
            return t.end
        if at[0] == c'"':
            return at + 1
        at += 2 if at[0] == c'\\' else 1


cdef cursor skip_value(Reader *r, cursor at) noexcept nogil:
    """The position behind the value at `at`, told by quotes and the number of brackets only."""
    cdef Text *t = &r.text
    cdef Py_ssize_t depth = 0
    if at == t.end or at[0] not in b'"{[':
        while at < t.end and at[0] not in b'"{}[],: \t\r\n':
            at += 1
        return at
    while at < t.end:
        if at[0] == c'"':
            at = skip_string(r, at)
        else:
            depth += at[0] in b"{["
            depth -= at[0] in b"}]"
            at += 1
        if depth == 0:
            return at
    return t.end


cdef cursor look_at_member(Reader *r, cursor at) noexcept nogil:
    """The position of the value of the member at `at`, its name in `content`; NULL where there is no member."""
    cdef Text *t = &r.text
    cdef uint8_t *to = r.to
    at = read_string(r, space(t, at))
    r.to = to
    t.verdict = FINE
    if at == NULL:
        return NULL
    at = space(t, at)
    return space(t, at + 1) if stands(t, at, c':') else NULL


cdef inline cursor look_at_first_member(Reader *r, cursor at) noexcept nogil:
    return look_at_member(r, at + 1) if stands(&r.text, at, c'{') else NULL


cdef bint is_typed(Reader *r, cursor at) noexcept nogil:
    """Whether an object whose only member is named as a type stands at `at`."""
    cdef Text *t = &r.text
    at = look_at_first_member(r, at)
    if at == NULL or type_of(r.content, r.length) == OTHER:
        return False
    return stands(t, space(t, skip_value(r, at)), c'}')


cdef cursor find_wrapped(Reader *r, cursor start) noexcept nogil:
    """The object that is the value of the only member `Item` of the object at `start`, or NULL."""
    cdef Text *t = &r.text
    cdef cursor inner = look_at_first_member(r, start)
    cdef bint is_key
    if inner == NULL or not named(r.content, r.length, b"Item", 4) or not stands(t, inner, c'{'):
        return NULL
    is_key = find_key(r) >= 0
    if is_key and is_typed(r, inner):
        return NULL
    return inner if stands(t, space(t, skip_value(r, inner)), c'}') else NULL


cdef bint has_typed_key(Reader *r, cursor start) noexcept nogil:
    """Whether the first key attribute is a typed value, and nothing but objects stand before it."""
    cdef Text *t = &r.text
    cdef cursor at = look_at_first_member(r, start)
    while at != NULL:
        if find_key(r) >= 0:
            return is_typed(r, at)
        if not stands(t, at, c'{'):
            return False
        at = space(t, skip_value(r, at))
        if not stands(t, at, c','):
            return False
        at = look_at_member(r, at + 1)
    return False


# A whole record

cdef void read_record(Reader *r, Format format) noexcept nogil:
    """Write the put, whose key's parts are then in `found`, or leave a verdict."""
    cdef Text *t = &r.text
    cdef cursor start, item, at
    cdef uint8_t *spare = r.spare
    at = invalid_utf8(t.begin, t.end)
    if at != t.end:
        fail(t, INVALID_UTF8, at)
        return
    start = item = space(t, t.begin)
    if not stands(t, start, c'{'):
        read_no_object(r, start)
        return
    cdef cursor inner = NULL
    cdef bint typed = format == TYPED
    if format != PLAIN:
        inner = find_wrapped(r, start)
        typed = typed or has_typed_key(r, start if inner == NULL else inner)
        r.spare = spare
    if not typed:
        inner = NULL
    put(r, b'{"PutRequest":{"Item":', 22)
    if inner == NULL:
        at = read_members(r, start + 1, 1, -1 if typed else 0, True, typed)
    else:
        item = inner
        at = read_members(r, inner + 1, 1, -1, True, True)
        at = expect(t, at, c'}') if at != NULL else NULL
    if at == NULL:
        return
    put(r, b"}}", 2)
    at = space(t, at)
    if at != t.end:
        fail(t, NOT_JSON, at)
        return
    judge_item(r, item)


cdef void judge_item(Reader *r, cursor item) noexcept nogil:
    cdef int index
    for index in range(r.schema.key_count):
        if r.schema.keys[index].required and r.found[index].text == NULL:
            r.faulty_key = index
            fail(&r.text, KEY_MISSING, item)
            return
    if r.size > MAX_ITEM_BYTES:
        fail(&r.text, ITEM_TOO_LARGE, item)


cdef void read_no_object(Reader *r, cursor start) noexcept nogil:
    cdef cursor at = read_plain(r, start, 1, -1)
    if at == NULL:
        return
    at = space(&r.text, at)
    if at == r.text.end:
        fail(&r.text, NOT_AN_OBJECT, start)
    else:
        fail(&r.text, NOT_JSON, at)
