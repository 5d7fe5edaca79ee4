# A page on its way to records: what is known of it, and the types seen at its paths. See paths.py.

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
    # The bytes object that becomes the page's records, and where the next of them and its room end.
    PyObject *records
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
    Printer printer



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
