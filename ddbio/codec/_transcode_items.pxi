# Items of a page: the counterpart of `_Items` in reference/pages.py.


# Items

cdef inline bint make_room(Reply *p, cursor at) noexcept nogil:
    """See to it that what is left of the reply fits, were it one item; False where there is no memory."""
    cdef Py_ssize_t needed = p.text.end - at + SLACK + WRAPPER_ROOM
    return p.limit - p.to >= needed or grow_room(p, needed)


cdef bint grow_room(Reply *p, Py_ssize_t needed) noexcept with gil:
    """Make the bytes object, or a larger one: with wrappers, records become longer than the reply that they stand in."""
    cdef Py_ssize_t used = p.to - <uint8_t *>bytes_of(p.records) if p.records != NULL else 0
    cdef Py_ssize_t room = used + needed
    if not p.jsonl:
        room += room // 16
    try:
        if p.records == NULL:
            p.records = new_bytes(NULL, room)
        else:
            resize_bytes(&p.records, room)
    except MemoryError:
        return False
    p.to = <uint8_t *>bytes_of(p.records) + used
    p.limit = p.to - used + room
    return True


cdef cursor read_items(Reply *p, cursor at) noexcept nogil:
    cdef Text *t = &p.text
    at = expect(t, at, c'[')
    if at == NULL:
        return NULL
    at = space(t, at)
    if stands(t, at, c']'):
        return at + 1
    while True:
        at = space(t, at)
        if not stands(t, at, c'{'):
            return fail(t, NOT_JSON, at)
        if not make_room(p, at):
            return fail(t, NO_MEMORY, at)
        if not p.jsonl:
            memcpy(p.to, b'{"Item":', 8)
            p.to += 8
        at = read_attributes(p, at + 1, 1, 0 if p.jsonl else -1)
        if at == NULL:
            return NULL
        if not p.jsonl:
            p.to[0] = c'}'
            p.to += 1
        p.to[0] = c'\n'
        p.to += 1
        p.items += 1
        if p.printer.wanted:
            p.printer.items += xxh3_of(p.printer.last, seed_of(0, M))
        at = space(t, at)
        if stands(t, at, c']'):
            return at + 1
        if not stands(t, at, c','):
            return fail(t, NOT_JSON, at)
        at += 1


cdef cursor read_attributes(Reply *p, cursor at, int level, int parent) noexcept nogil:
    """Write the attributes behind an opening brace; return the position behind the closing one."""
    cdef Text *t = &p.text
    cdef cursor next_at
    cdef uint64_t total = 0
    p.to[0] = c'{'
    p.to += 1
    at = space(t, at)
    if stands(t, at, c'}'):
        p.to[0] = c'}'
        p.to += 1
        p.printer.last = 0
        return at + 1
    while True:
        next_at = read_usual(p, at, parent)
        if next_at == NULL:
            next_at = read_attribute(p, space(t, at), level, parent)
            if next_at == NULL:
                return NULL
        total += p.printer.last
        at = space(t, next_at)
        if stands(t, at, c','):
            p.to[0] = c','
        elif stands(t, at, c'}'):
            p.to[0] = c'}'
        else:
            return fail(t, NOT_JSON, at)
        p.to += 1
        at += 1
        if (at - 1)[0] == c'}':
            p.printer.last = total
            return at


cdef cursor read_usual(Reply *p, cursor at, int parent) noexcept nogil:
    """Take an attribute of type S, N or B at once, where it has neither white space nor escapes; else answer NULL."""
    cdef cursor end = p.text.end, name = at + 1, value
    cdef uint8_t *to = p.to
    cdef size_t length, width
    cdef uint8_t kind
    if at == end or at[0] != c'"':
        return NULL
    to[0] = c'"'
    length = copy_plain(to + 1, name, end)
    at = name + length
    to += length + 1
    kind = opening_of(at) if end - at >= 8 else 0
    if kind == 0:
        return NULL
    if p.jsonl:
        memcpy(to, b'":"', 3)
        to += 3
    else:
        memcpy(to, at, 8)
        to += 8
    at += 8
    if kind == c'N' and p.jsonl:
        to -= 1
        width = number_width(&p.text, at)
        if width == 0:
            return NULL
        copy(to, at, width, end)
    elif kind == c'S' or kind == c'B' or kind == c'N':
        width = copy_plain(to, at, end)
    else:
        return NULL
    value = at
    at += width
    to += width
    if end - at < 2 or at[0] != c'"' or at[1] != c'}':
        return NULL
    if not p.jsonl:
        to[0] = c'"'
        to[1] = c'}'
        to += 2
    elif kind != c'N':
        to[0] = c'"'
        to += 1
        if parent >= 0:
            note(p, find_node(p, parent, name, length), S_BIT if kind == c'S' else B_BIT)
    if p.printer.wanted:
        print_usual(&p.printer, S if kind == c'S' else N if kind == c'N' else B, name, length, value, width)
    p.to = to
    return at + 2


cdef inline Py_ssize_t number_width(Text *t, cursor at) noexcept nogil:
    """The length of the JSON number at `at`, or 0."""
    cdef cursor end = at
    if end < t.end and c'1' <= end[0] <= c'9':
        while end < t.end and is_digit(end[0]):
            end += 1
        if stands(t, end, c'"'):
            return end - at
    end = number_end(t, at)
    if end == NULL:
        t.verdict = FINE
        return 0
    return end - at


cdef cursor read_attribute(Reply *p, cursor at, int level, int parent) noexcept nogil:
    cdef Text *t = &p.text
    cdef cursor name = at + 1
    cdef Py_ssize_t length
    cdef uint64_t place
    at = copy_string(t, at, &p.to)
    if at == NULL:
        return NULL
    length = at - 1 - name
    at = expect(t, at, c':')
    if at == NULL:
        return NULL
    p.to[0] = c':'
    p.to += 1
    place = place_of(t, &p.printer, name, length) if p.printer.wanted else 0
    return read_value(p, space(t, at), level, parent, name, length, place)


cdef cursor read_value(Reply *p, cursor at, int level, int parent, cursor name, Py_ssize_t length,
                       uint64_t place) noexcept nogil:
    """Write the attribute value at `at`, whose path is that of the member `name` of `parent`."""
    cdef Text *t = &p.text
    cdef uint8_t *to
    cdef cursor type_name
    cdef Kind kind
    cdef int node = -1
    if level > MAX_LEVELS:
        return fail(t, NESTING_TOO_DEEP, at)
    at = expect(t, at, c'{')
    if at == NULL:
        return NULL
    type_name = space(t, at)
    to = p.to
    to[0] = c'{'
    p.to += not p.jsonl
    at = copy_string(t, type_name, &p.to)
    if at == NULL:
        return NULL
    kind = type_of(type_name + 1, at - type_name - 2)
    if kind == OTHER:
        return fail(t, TYPE_INVALID, type_name)
    if p.jsonl:
        p.to = to
        if kind != N and kind != BOOL and kind != NULL_:
            node = find_member(p, parent, name, length)
            note(p, node, TYPE_BITS[<int>kind])
    else:
        p.to[0] = c':'
        p.to += 1
    at = expect(t, at, c':')
    if at == NULL:
        return NULL
    at = read_inner(p, space(t, at), level, node, kind, seed_of(place, kind))
    if at == NULL:
        return NULL
    if not p.jsonl:
        p.to[0] = c'}'
        p.to += 1
    return expect(t, at, c'}')


cdef cursor read_inner(Reply *p, cursor at, int level, int node, Kind kind, uint64_t seed) noexcept nogil:
    """Write the value of an attribute value's only member."""
    if kind == S or kind == N or kind == B:
        return read_page_text(p, at, kind, seed)
    if kind == BOOL or kind == NULL_:
        return read_page_literal(p, at, kind, seed)
    if kind == M:
        at = expect(&p.text, at, c'{')
        at = read_attributes(p, at, level + 1, node) if at != NULL else NULL
    else:
        at = read_elements(p, at, level, node, kind)
    p.printer.last = xxh3_of(p.printer.last, seed)
    return at


cdef cursor read_page_text(Reply *p, cursor at, Kind kind, uint64_t seed) noexcept nogil:
    """Write what is a string in the reply: of type S, N or B, or an element of a set of these."""
    cdef cursor end = read_page_number(p, at) if kind == N else copy_string(&p.text, at, &p.to)
    if end != NULL and p.printer.wanted:
        p.printer.last = print_text(&p.text, &p.printer, at + 1, end - at - 2, kind, seed)
    return end


cdef cursor read_page_number(Reply *p, cursor at) noexcept nogil:
    cdef Text *t = &p.text
    cdef uint8_t *to = p.to
    cdef Py_ssize_t width
    cdef cursor end = copy_string(t, at, &p.to)
    if end == NULL or not p.jsonl:
        return end
    width = number_width(t, at + 1)
    if width == 0 or width != end - at - 2:
        return fail(t, NUMBER_INVALID, at)
    memcpy(to, at + 1, end - at - 2)
    p.to -= 2
    return end


cdef cursor read_page_literal(Reply *p, cursor at, Kind kind, uint64_t seed) noexcept nogil:
    cdef Py_ssize_t length = literal(&p.text, at)
    if length == 0 or at[0] == c'n' or (kind == NULL_ and at[0] == c'f'):
        return fail(&p.text, TYPE_INVALID, at)
    if kind == NULL_ and p.jsonl:
        memcpy(p.to, b"null", 4)
    else:
        memcpy(p.to, at, length)
    p.to += length
    if p.printer.wanted:
        p.printer.last = xxh3(at, length if kind == BOOL else 0, seed)
    return at + length


cdef cursor read_elements(Reply *p, cursor at, int level, int node, Kind kind) noexcept nogil:
    """Write a list, or a set, which opens at `at`."""
    cdef Text *t = &p.text
    cdef Kind element = N if kind == NS else S
    cdef uint64_t total = 0
    at = expect(t, at, c'[')
    if at == NULL:
        return NULL
    p.to[0] = c'['
    p.to += 1
    at = space(t, at)
    if not stands(t, at, c']'):
        while True:
            at = space(t, at)
            if kind == L:
                at = read_value(p, at, level + 1, node, ELEMENT, 1, total)
                total = p.printer.last
            else:
                at = read_page_text(p, at, element, 0)
                total += p.printer.last
            if at == NULL:
                return NULL
            at = space(t, at)
            if not stands(t, at, c','):
                break
            p.to[0] = c','
            p.to += 1
            at += 1
    if not stands(t, at, c']'):
        return fail(t, NOT_JSON, at)
    p.to[0] = c']'
    p.to += 1
    p.printer.last = total
    return at + 1
