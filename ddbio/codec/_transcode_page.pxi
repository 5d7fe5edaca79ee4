# The reply itself, and JSON that is no item: the counterpart of `_Reply` in reference/pages.py.


# Text without a verdict on surrogates

cdef cursor copy_string(Text *t, cursor at, uint8_t **to) noexcept nogil:
    """Copy the string at `at` as it stands; return the position behind it."""
    cdef uint8_t *out = to[0]
    cdef size_t plain
    cdef uint32_t code = 0
    cdef int length
    if not stands(t, at, c'"'):
        return fail(t, NOT_JSON, at)
    at += 1
    out[0] = c'"'
    out += 1
    while True:
        plain = copy_plain(out, at, t.end)
        at += plain
        out += plain
        if not stands(t, at, c'\\'):
            break
        length = escape(at, t.end, &code)
        if length == 0:
            return fail(t, NOT_JSON, at)
        memcpy(out, at, length)
        at += length
        out += length
    if not stands(t, at, c'"'):
        return fail(t, NOT_JSON, at)
    out[0] = c'"'
    to[0] = out + 1
    return at + 1


cdef cursor copy_value(Text *t, cursor at, int level, uint8_t **to) noexcept nogil:
    """Copy any JSON value without its white space."""
    cdef cursor end
    if stands(t, at, c'"'):
        return copy_string(t, at, to)
    if stands(t, at, c'{') or stands(t, at, c'['):
        return copy_container(t, at, level, to)
    if at < t.end and (at[0] == c't' or at[0] == c'f' or at[0] == c'n'):
        end = at + literal(t, at)
        if end == at:
            return fail(t, NOT_JSON, at)
    else:
        end = number_end(t, at)
        if end == NULL:
            return NULL
    memcpy(to[0], at, end - at)
    to[0] += end - at
    return end


cdef cursor copy_container(Text *t, cursor at, int level, uint8_t **to) noexcept nogil:
    cdef uint8_t opening = at[0], closing = c'}' if at[0] == c'{' else c']'
    if level > MAX_LEVELS:
        return fail(t, NESTING_TOO_DEEP, at)
    to[0][0] = opening
    to[0] += 1
    at = space(t, at + 1)
    if not stands(t, at, closing):
        while True:
            at = space(t, at)
            if opening == c'{':
                at = copy_string(t, at, to)
                at = expect(t, at, c':') if at != NULL else NULL
                if at == NULL:
                    return NULL
                to[0][0] = c':'
                to[0] += 1
                at = space(t, at)
            at = copy_value(t, at, level + 1, to)
            if at == NULL:
                return NULL
            at = space(t, at)
            if not stands(t, at, c','):
                break
            to[0][0] = c','
            to[0] += 1
            at += 1
    if not stands(t, at, closing):
        return fail(t, NOT_JSON, at)
    to[0][0] = closing
    to[0] += 1
    return at + 1


# The reply itself

cdef cursor skip_json(Reply *p, cursor at, int level) noexcept nogil:
    """The position behind any JSON value; what is behind the records written so far is overwritten."""
    cdef uint8_t *to
    if not make_room(p, at):
        return fail(&p.text, NO_MEMORY, at)
    to = p.to
    return copy_value(&p.text, at, level, &to)


cdef cursor read_name(Reply *p, cursor at) noexcept nogil:
    cdef uint8_t *to
    if not make_room(p, at):
        return fail(&p.text, NO_MEMORY, at)
    to = p.to
    return copy_string(&p.text, at, &to)


cdef cursor read_count(Text *t, cursor at, int64_t *count) noexcept nogil:
    cdef cursor end = number_end(t, at), digit = at
    if end == NULL:
        return NULL
    count[0] = 0
    while digit < end and is_digit(digit[0]) and digit - at < 18:
        count[0] = 10 * count[0] + (digit[0] - c'0')
        digit += 1
    return end if digit == end else fail(t, NOT_JSON, at)


cdef cursor read_last_key(Reply *p, cursor at) noexcept nogil:
    if not stands(&p.text, at, c'{'):
        return fail(&p.text, NOT_JSON, at)
    p.last_key = at
    p.last_key_end = at = skip_json(p, at, 1)
    return at


cdef cursor read_capacity(Reply *p, cursor at) noexcept nogil:
    cdef Text *t = &p.text
    cdef cursor name
    cdef Py_ssize_t length
    at = expect(t, at, c'{')
    if at == NULL:
        return NULL
    at = space(t, at)
    if stands(t, at, c'}'):
        return at + 1
    while True:
        name = space(t, at)
        at = read_name(p, name)
        length = at - name
        at = expect(t, at, c':') if at != NULL else NULL
        if at == NULL:
            return NULL
        at = space(t, at)
        if named(name, length, b'"CapacityUnits"', 15):
            p.capacity = at
            p.capacity_end = at = number_end(t, at)
        else:
            at = skip_json(p, at, 2)
        if at == NULL:
            return NULL
        at = space(t, at)
        if stands(t, at, c'}'):
            return at + 1
        if not stands(t, at, c','):
            return fail(t, NOT_JSON, at)
        at += 1


cdef int member_of(cursor name, Py_ssize_t length) noexcept nogil:
    """The bit of a member of the reply that is of interest, or 0."""
    if named(name, length, b'"Items"', 7):
        return ITEMS
    if named(name, length, b'"Count"', 7):
        return COUNT
    if named(name, length, b'"ScannedCount"', 14):
        return SCANNED_COUNT
    if named(name, length, b'"LastEvaluatedKey"', 18):
        return LAST_KEY
    return CAPACITY if named(name, length, b'"ConsumedCapacity"', 18) else 0


cdef cursor read_member(Reply *p, cursor at, int member) noexcept nogil:
    if member == ITEMS:
        return read_items(p, at)
    if member == COUNT:
        return read_count(&p.text, at, &p.count)
    if member == SCANNED_COUNT:
        return read_count(&p.text, at, &p.scanned)
    if member == LAST_KEY:
        return read_last_key(p, at)
    return read_capacity(p, at) if member == CAPACITY else skip_json(p, at, 1)


cdef void read_reply(Reply *p) noexcept nogil:
    cdef Text *t = &p.text
    cdef cursor at = invalid_utf8(t.begin, t.end), name
    cdef int member
    if at != t.end:
        fail(t, INVALID_UTF8, at)
        return
    if p.jsonl and add_node(p, -1, NULL, 0, 0) < 0:
        return
    at = expect(t, t.begin, c'{')
    if at == NULL:
        return
    at = space(t, at)
    if not stands(t, at, c'}'):
        while True:
            name = space(t, at)
            at = read_name(p, name)
            if at == NULL:
                return
            member = member_of(name, at - name)
            at = expect(t, at, c':')
            if at == NULL:
                return
            if p.members & member:
                fail(t, DUPLICATE_MEMBER, name)
                return
            p.members |= member
            at = read_member(p, space(t, at), member)
            if at == NULL:
                return
            at = space(t, at)
            if not stands(t, at, c','):
                break
            at += 1
    if not stands(t, at, c'}'):
        fail(t, NOT_JSON, at)
        return
    at = space(t, at + 1)
    if at != t.end:
        fail(t, NOT_JSON, at)
