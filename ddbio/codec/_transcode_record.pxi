# Whole records: the counterpart of keys.py, formats.py and records.py in reference/.


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
