# Records to puts: the counterpart of `_formats.py`, `_item.py`, `_plain.py`, `_typed.py` and `_keys.py`.

cdef enum Kind:
    OTHER, S, N, B, BOOL, NULL_, M, L, SS, NS, BS

cdef struct Hint:
    Kind kind
    int elements
    int first
    int count

cdef struct HintName:
    cursor text
    Py_ssize_t length
    int node

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

cdef struct Found:
    # A key attribute's checked value in canonical form; NULL while it was not met.
    cursor text
    Py_ssize_t length

cdef struct Reader:
    Text text
    Schema *schema
    Found *found
    int faulty_key
    uint8_t *to
    uint8_t *spare
    Py_ssize_t size
    # The string read last, decoded; and what a key check needs of the value read last.
    cursor content
    Py_ssize_t length
    Kind kind
    Py_ssize_t raw_length
    Number number
    Seen seen


cdef cursor read_string(Reader *r, cursor at) noexcept nogil:
    """Copy the string at `at`; leave its UTF-8 in `content`, which is a piece of the record where it has no escape."""
    cdef Text *t = &r.text
    cdef uint8_t *to = r.to
    cdef uint8_t *decoded
    cdef Py_ssize_t plain
    cdef uint32_t code
    cdef int length
    if not stands(t, at, c'"'):
        return fail(t, NOT_JSON, at)
    to[0] = c'"'
    at += 1
    plain = copy_plain(to + 1, at, t.end)
    r.content = at
    r.length = plain
    at += plain
    to += 1 + plain
    if stands(t, at, c'"'):
        to[0] = c'"'
        r.to = to + 1
        return at + 1
    decoded = r.spare
    memcpy(decoded, r.content, plain)
    decoded += plain
    while at < t.end and at[0] == c'\\':
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
