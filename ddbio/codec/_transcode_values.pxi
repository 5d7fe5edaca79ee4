# Values, plain and typed: the counterpart of item.py, plain.py and typed.py in reference/.


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
