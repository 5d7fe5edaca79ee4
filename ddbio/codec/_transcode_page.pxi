# Scan replies to records: the counterpart of `_pages.py`.

cdef enum:
    MAX_LEVELS = 100
    FIRST_NODES = 64
    ITEMS = 1
    COUNT = 2
    SCANNED_COUNT = 4
    LAST_KEY = 8
    CAPACITY = 16
    WRAPPER_ROOM = 64

cdef struct Node:
    # One path of the page, and the name that leads to it. Children are chained in the order of their discovery;
    # `likely` is the one that came after the last one looked for: items mostly have their attributes in one order.
    cursor name
    Py_ssize_t length
    uint64_t hash
    int parent
    int first
    int last
    int next
    int likely
    int mask

cdef struct Reply:
    Text text
    bint jsonl
    uint8_t *records
    uint8_t *to
    uint8_t *limit
    int64_t items
    int64_t count
    int64_t scanned
    cursor last_key
    cursor last_key_end
    cursor capacity
    cursor capacity_end
    int members
    # The tree of paths: nodes, a table of them by parent and name, and room for names with escapes.
    Node *nodes
    int node_count
    int node_room
    int *table
    int table_room
    int paths
    bint starved
    uint8_t *spare
    uint8_t *spare_begin


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


# Paths and the types seen there

cdef inline int find_node(Reply *p, int parent, cursor name, Py_ssize_t length) noexcept nogil:
    """The node of this member of `parent`, found or made; -1 where it is neither."""
    cdef int node
    if parent < 0:
        return -1
    node = p.nodes[parent].likely
    if node < 0 or not same(p.nodes[node].name, p.nodes[node].length, name, length):
        node = search_node(p, parent, name, length)
        if node < 0:
            return -1
    p.nodes[parent].likely = p.nodes[node].next if p.nodes[node].next >= 0 else p.nodes[parent].first
    return node


cdef int search_node(Reply *p, int parent, cursor name, Py_ssize_t length) noexcept nogil:
    cdef uint64_t hashed = hash_of(name, length, HASH_KEY[0], HASH_KEY[1]) + <uint64_t>parent
    cdef int index = hashed & (p.table_room - 1), node = p.table[index]
    while node != 0:
        if (p.nodes[node].hash == hashed and p.nodes[node].parent == parent
                and same(p.nodes[node].name, p.nodes[node].length, name, length)):
            return node
        index = (index + 1) & (p.table_room - 1)
        node = p.table[index]
    return add_node(p, parent, name, length, hashed) if p.paths < MAX_PATHS else -1


cdef int add_node(Reply *p, int parent, cursor name, Py_ssize_t length, uint64_t hashed) noexcept nogil:
    cdef Node *node
    if p.node_count == p.node_room and not grow_nodes(p):
        p.starved = True
        return -1
    node = &p.nodes[p.node_count]
    node.name, node.length, node.hash, node.parent = name, length, hashed, parent
    node.first = node.last = node.next = node.likely = -1
    node.mask = 0
    if parent >= 0:
        if p.nodes[parent].last >= 0:
            p.nodes[p.nodes[parent].last].next = p.node_count
        else:
            p.nodes[parent].first = p.node_count
        p.nodes[parent].last = p.node_count
        enter_node(p, p.node_count)
    p.node_count += 1
    return p.node_count - 1


cdef void enter_node(Reply *p, int node) noexcept nogil:
    cdef int index = p.nodes[node].hash & (p.table_room - 1)
    while p.table[index] != 0:
        index = (index + 1) & (p.table_room - 1)
    p.table[index] = node


cdef bint grow_nodes(Reply *p) noexcept nogil:
    cdef int room = max(2 * p.node_room, <int>FIRST_NODES), node
    cdef int *table = <int *>PyMem_RawCalloc(2 * room, sizeof(int))
    cdef Node *nodes = <Node *>PyMem_RawRealloc(p.nodes, room * sizeof(Node)) if table != NULL else NULL
    if nodes == NULL:
        PyMem_RawFree(table)
        return False
    PyMem_RawFree(p.table)
    p.nodes, p.node_room = nodes, room
    p.table, p.table_room = table, 2 * room
    for node in range(1, p.node_count):
        enter_node(p, node)
    return True


cdef inline void note(Reply *p, int node, int bit) noexcept nogil:
    if node < 0 or p.nodes[node].mask & bit:
        return
    if p.nodes[node].mask == 0:
        if p.paths == MAX_PATHS:
            return
        p.paths += 1
    p.nodes[node].mask |= bit


cdef int find_member(Reply *p, int parent, cursor name, Py_ssize_t length) noexcept nogil:
    """The node of a member whose name may have escapes."""
    cdef cursor end = name + length
    cdef uint8_t *decoded = p.spare
    cdef uint32_t code = 0
    if parent < 0 or memchr(name, c'\\', length) == NULL:
        return find_node(p, parent, name, length)
    if decoded == NULL:
        # Names decoded are shorter than the reply that they stand in.
        p.spare_begin = decoded = p.spare = <uint8_t *>PyMem_RawMalloc(p.text.end - p.text.begin)
        if decoded == NULL:
            p.starved = True
            return -1
    while name < end:
        if name[0] == c'\\':
            name += escape(name, end, &code)
            decoded += put_utf8(decoded, c'?' if code == LONE else code)
        else:
            decoded[0] = name[0]
            decoded += 1
            name += 1
    name = p.spare
    p.spare = decoded
    return find_node(p, parent, name, decoded - name)


# Items

cdef bint make_room(Reply *p, cursor at) noexcept nogil:
    """See to it that what is left of the reply fits, were it one item; False where there is no memory."""
    cdef Py_ssize_t used = p.to - p.records, needed = p.text.end - at + SLACK + WRAPPER_ROOM, room
    cdef uint8_t *records
    if p.limit - p.to >= needed:
        return True
    room = used + max(needed, used // 2)
    records = <uint8_t *>PyMem_RawRealloc(p.records, room)
    if records == NULL:
        return False
    p.records = records
    p.to = records + used
    p.limit = records + room
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
    p.to[0] = c'{'
    p.to += 1
    at = space(t, at)
    if stands(t, at, c'}'):
        p.to[0] = c'}'
        p.to += 1
        return at + 1
    while True:
        next_at = read_usual(p, at, parent)
        if next_at == NULL:
            next_at = read_attribute(p, space(t, at), level, parent)
            if next_at == NULL:
                return NULL
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
            return at


cdef cursor read_usual(Reply *p, cursor at, int parent) noexcept nogil:
    """Take an attribute of type S, N or B at once, where it has neither white space nor escapes; else answer NULL."""
    cdef cursor end = p.text.end, name = at + 1
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
        copy(to, at, width, end)
    elif kind == c'S' or kind == c'B' or kind == c'N':
        width = copy_plain(to, at, end)
    else:
        return NULL
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
    at = copy_string(t, at, &p.to)
    if at == NULL:
        return NULL
    length = at - 1 - name
    at = expect(t, at, c':')
    if at == NULL:
        return NULL
    p.to[0] = c':'
    p.to += 1
    return read_value(p, space(t, at), level, parent, name, length)


cdef cursor read_value(Reply *p, cursor at, int level, int parent, cursor name, Py_ssize_t length) noexcept nogil:
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
    at = read_inner(p, space(t, at), level, node, kind)
    if at == NULL:
        return NULL
    if not p.jsonl:
        p.to[0] = c'}'
        p.to += 1
    return expect(t, at, c'}')


cdef cursor read_inner(Reply *p, cursor at, int level, int node, Kind kind) noexcept nogil:
    """Write the value of an attribute value's only member."""
    if kind == S or kind == B:
        return copy_string(&p.text, at, &p.to)
    if kind == N:
        return read_page_number(p, at)
    if kind == BOOL or kind == NULL_:
        return read_page_literal(p, at, kind)
    if kind == M:
        at = expect(&p.text, at, c'{')
        return read_attributes(p, at, level + 1, node) if at != NULL else NULL
    return read_elements(p, at, level, node, kind)


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


cdef cursor read_page_literal(Reply *p, cursor at, Kind kind) noexcept nogil:
    cdef Py_ssize_t length = literal(&p.text, at)
    if length == 0 or at[0] == c'n' or (kind == NULL_ and at[0] == c'f'):
        return fail(&p.text, TYPE_INVALID, at)
    if kind == NULL_ and p.jsonl:
        memcpy(p.to, b"null", 4)
    else:
        memcpy(p.to, at, length)
    p.to += length
    return at + length


cdef cursor read_elements(Reply *p, cursor at, int level, int node, Kind kind) noexcept nogil:
    """Write a list, or a set, which opens at `at`."""
    cdef Text *t = &p.text
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
                at = read_value(p, at, level + 1, node, ELEMENT, 1)
            elif kind == NS:
                at = read_page_number(p, at)
            else:
                at = copy_string(t, at, &p.to)
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
