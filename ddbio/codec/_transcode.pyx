# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The native codec: one pass, and no Python object per attribute. `ddbio.codec.reference` specifies it to the byte."""

import os

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetDefault
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from ddbio.codec import fingerprint as _fingerprint
from ddbio.codec import numbers as _numbers
from ddbio import hints as _hints
from ddbio import model as _model
from ddbio.codec.faults import malformed, missing, refusal
from ddbio.codec.keys import hint_tree, key_rules
from ddbio.codec.paths import child_path
from ddbio.model import Page, Put, Reason

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject *, Py_ssize_t)
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    char *bytes_of "PyBytes_AS_STRING"(PyObject *) nogil
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1

cdef extern from "_scan.h" nogil:
    const int SLACK "DDBIO_SLACK"
    const int SMALL_RECORD "DDBIO_SMALL_RECORD"
    const uint32_t LONE "DDBIO_LONE"
    const int64_t POWER_LIMIT "DDBIO_POWER_LIMIT"
    size_t copy_plain "ddbio_copy_plain"(uint8_t *to, const uint8_t *source, const uint8_t *end) noexcept
    void copy "ddbio_copy"(uint8_t *to, const uint8_t *source, size_t length, const uint8_t *end) noexcept
    bint same_bytes "ddbio_same"(const uint8_t *one, const uint8_t *other, size_t length) noexcept
    uint8_t opening_of "ddbio_opening"(const uint8_t *at) noexcept
    const uint8_t *invalid_utf8 "ddbio_invalid_utf8"(const uint8_t *at, const uint8_t *end) noexcept
    uint64_t hash_of "ddbio_hash"(const uint8_t *text, size_t length, uint64_t key0, uint64_t key1) noexcept

cdef extern from "_xxh3.h" nogil:
    uint64_t xxh3 "ddbio_xxh3"(const uint8_t *at, size_t length, uint64_t seed) noexcept
    uint64_t le32 "ddbio_le32"(const uint8_t *at) noexcept
    uint64_t xxh3_word "ddbio_xxh3_word"(uint64_t word, size_t length, uint64_t seed) noexcept
    uint64_t xxh3_of "ddbio_xxh3_of"(uint64_t value, uint64_t seed) noexcept

cdef int MAX_DIGITS = _model.MAX_DIGITS
cdef Py_ssize_t WRITE_UNIT_BYTES = _model.WRITE_UNIT_BYTES
cdef int MAX_NESTING = _model.MAX_NESTING
cdef Py_ssize_t MAX_ITEM_BYTES = _model.MAX_ITEM_BYTES
cdef int MIN_EXPONENT = _numbers.MIN_EXPONENT
cdef int MAX_EXPONENT = _numbers.MAX_EXPONENT
cdef int MAX_PATHS = _hints.MAX_PATHS
cdef int S_BIT = _hints.S
cdef int B_BIT = _hints.B

cdef uint64_t[2] HASH_KEY
HASH_KEY[0] = int.from_bytes(os.urandom(8), "little")
HASH_KEY[1] = int.from_bytes(os.urandom(8), "little")

cdef uint8_t[256] SEXTETS
for _byte in range(256):
    SEXTETS[_byte] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(_byte) & 255

# Stands for the elements of a list among the names of a path; it is not valid UTF-8, so no name is equal to it.
cdef const uint8_t *ELEMENT = b"\xff"

include "_transcode_text.pxi"
include "_transcode_reader.pxi"
include "_transcode_values.pxi"
include "_transcode_record.pxi"
include "_transcode_print.pxi"
include "_transcode_paths.pxi"
include "_transcode_items.pxi"
include "_transcode_page.pxi"

if MAX_NESTING + 2 > SCOPES:
    raise ImportError("the codec was built for less nesting than ddbio.model allows")

cdef int[11] TYPE_BITS
TYPE_BITS[:] = [0, _hints.S, 0, _hints.B, 0, 0, 0, _hints.L, _hints.SS, _hints.NS, _hints.BS]

cdef uint64_t[11] PRINT_SEEDS
PRINT_SEEDS[:] = [0, *(_fingerprint.SEEDS[name] for name in ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"))]

_REASONS = {
    NOT_JSON: Reason.NOT_JSON,
    NOT_AN_OBJECT: Reason.NOT_AN_OBJECT,
    INVALID_UTF8: Reason.INVALID_UTF8,
    LONE_SURROGATE: Reason.LONE_SURROGATE,
    DUPLICATE_MEMBER: Reason.DUPLICATE_MEMBER,
    KEY_MISSING: Reason.KEY_MISSING,
    KEY_EMPTY: Reason.KEY_EMPTY,
    KEY_TOO_LONG: Reason.KEY_TOO_LONG,
    KEY_WRONG_TYPE: Reason.KEY_WRONG_TYPE,
    ITEM_TOO_LARGE: Reason.ITEM_TOO_LARGE,
    NESTING_TOO_DEEP: Reason.NESTING_TOO_DEEP,
    NUMBER_INVALID: Reason.NUMBER_INVALID,
    NUMBER_TOO_PRECISE: Reason.NUMBER_TOO_PRECISE,
    NUMBER_OUT_OF_RANGE: Reason.NUMBER_OUT_OF_RANGE,
    SET_EMPTY: Reason.SET_EMPTY,
    SET_DUPLICATE: Reason.SET_DUPLICATE,
    BINARY_INVALID: Reason.BINARY_INVALID,
    TYPE_INVALID: Reason.TYPE_INVALID,
}
_KINDS = {None: OTHER, "S": S, "N": N, "B": B, "SS": SS, "NS": NS, "BS": BS}


# Pages

def transcode_page(body, str fmt not None, bint fingerprint=False):
    """See `reference.transcode_page`; `body` may be bytes or a bytearray."""
    cdef Reply p
    cdef Py_buffer held
    PyObject_GetBuffer(body, &held, PyBUF_SIMPLE)
    memset(&p, 0, sizeof(Reply))
    p.text.begin = <cursor>held.buf
    p.text.end = p.text.begin + held.len
    p.jsonl = fmt == "jsonl"
    p.printer.wanted = fingerprint
    try:
        if not make_room(&p, p.text.begin):
            raise MemoryError
        with nogil:
            read_reply(&p)
        return page_of(&p, body)
    finally:
        PyBuffer_Release(&held)
        Py_XDECREF(p.records)
        PyMem_RawFree(p.nodes)
        PyMem_RawFree(p.table)
        PyMem_RawFree(p.spare_begin)
        PyMem_RawFree(p.printer.room)


def item_fingerprint(bytes item not None):
    """See `reference.item_fingerprint`. Raises ValueError where the text is no item."""
    cdef Reply p
    cdef cursor at
    memset(&p, 0, sizeof(Reply))
    p.text.begin = at = <cursor>PyBytes_AS_STRING(item)
    p.text.end = at + PyBytes_GET_SIZE(item)
    p.printer.wanted = True
    try:
        at = read_item(&p, at)
        if p.printer.starved or p.text.verdict == NO_MEMORY:
            raise MemoryError
        if at == NULL:
            raise ValueError(f"no item: byte {p.text.position}")
        return p.printer.items
    finally:
        Py_XDECREF(p.records)
        PyMem_RawFree(p.printer.room)


cdef cursor read_item(Reply *p, cursor at) noexcept nogil:
    """Read a text that is one item, for its fingerprint; what is written of it is discarded."""
    cdef Text *t = &p.text
    cdef cursor invalid = invalid_utf8(at, t.end)
    if invalid != t.end:
        return fail(t, INVALID_UTF8, invalid)
    if not make_room(p, at):
        return fail(t, NO_MEMORY, at)
    at = expect(t, at, c'{')
    at = read_attributes(p, at, 1, -1) if at != NULL else NULL
    at = space(t, at) if at != NULL else NULL
    if at == NULL:
        return NULL
    p.printer.items = xxh3_of(p.printer.last, seed_of(0, M))
    return at if at == t.end else fail(t, NOT_JSON, at)


cdef object page_of(Reply *p, body):
    if p.text.verdict == NO_MEMORY or p.starved or p.printer.starved:
        raise MemoryError
    if p.text.verdict != FINE:
        raise malformed(p.text.position)
    if not p.members & COUNT or not p.members & ITEMS:
        raise missing("Items" if p.members & COUNT else "Count")
    return Page(
        written(p),
        p.items,
        p.count,
        p.scanned if p.members & SCANNED_COUNT else p.count,
        compacted(p) if p.members & LAST_KEY else None,
        float(body[p.capacity - p.text.begin:p.capacity_end - p.text.begin]) if p.capacity != NULL else None,
        types_of(p),
        p.printer.items,
    )


cdef bytes written(Reply *p):
    """The records, without the unused room after them."""
    resize_bytes(&p.records, p.to - <uint8_t *>bytes_of(p.records))
    return <bytes>p.records


cdef bytes compacted(Reply *p):
    """The last key without its white space."""
    cdef uint8_t *key = <uint8_t *>PyMem_RawMalloc(p.last_key_end - p.last_key + SLACK)
    cdef uint8_t *to = key
    if key == NULL:
        raise MemoryError
    copy_value(&p.text, p.last_key, 1, &to)
    try:
        return PyBytes_FromStringAndSize(<char *>key, to - key)
    finally:
        PyMem_RawFree(key)


cdef dict types_of(Reply *p):
    cdef Node *node
    cdef int index
    paths = [None]
    types = {}
    for index in range(1, p.node_count):
        node = &p.nodes[index]
        if node.name == ELEMENT:
            path = f"{paths[node.parent]}[]"
        else:
            path = child_path(paths[node.parent], (<const char *>node.name)[:node.length])
        paths.append(path)
        if node.mask:
            types[path] = types.get(path, 0) | node.mask
    return types


# Records

_FORMATS = {"auto": AUTO, "jsonl": PLAIN, "dynamodb-json": TYPED}


@cython.final
@cython.no_gc  # nothing that it refers to refers back, and there are many of them
@cython.freelist(256)
cdef class EncodedRecord:
    """See `reference.EncodedRecord`."""

    cdef readonly object request
    cdef readonly object key
    cdef readonly Py_ssize_t size
    cdef readonly object block
    cdef readonly Py_ssize_t offset
    cdef readonly Py_ssize_t length
    cdef public object written
    cdef public int returned
    cdef readonly Py_ssize_t owner

    def __init__(self, request, key, Py_ssize_t size, block, Py_ssize_t offset, Py_ssize_t length):
        self.request = request
        self.key = key
        self.size = size
        self.block = block
        self.offset = offset
        self.length = length


def weigh(list entries not None):
    """See `reference.weigh`."""
    cdef EncodedRecord entry
    cdef Py_ssize_t size = 0, units = 0
    for entry in entries:
        size += len(entry.request)
        units += (entry.size + WRITE_UNIT_BYTES - 1) // WRITE_UNIT_BYTES
    return size, units


def take_off(list entries not None, dict flying not None, Py_ssize_t owner):
    """See `reference.take_off`."""
    cdef EncodedRecord entry
    cdef list ready = [], held = []
    for entry in entries:
        entry.owner = owner
        if <object>PyDict_SetDefault(flying, entry.key, entry) is entry:
            ready.append(entry)
        else:
            held.append(entry)
    return ready, held


def settle(list entries not None, bint written, dict flying not None, dict awaited not None):
    """See `reference.settle`."""
    cdef EncodedRecord entry
    cdef object noted = written
    cdef list found = []
    cdef dict owners = {}
    cdef Py_ssize_t owner = 0, count = 0
    for entry in entries:
        entry.written = noted
        del flying[entry.key]
        if len(awaited) and entry.key in awaited:
            found.append(entry.key)
        if entry.owner != owner and count:  # entries of one owner mostly follow one another
            owners[owner] = owners.get(owner, 0) + count
            count = 0
        owner = entry.owner
        count += 1
    if count:
        owners[owner] = owners.get(owner, 0) + count
    return found, owners


def count_settled(list entries not None):
    """See `reference.count_settled`."""
    cdef EncodedRecord entry
    cdef Py_ssize_t count = 0, written = 0
    for entry in entries:
        if entry.written is None:
            break
        count += 1
        written += entry.written is True
    return count, written


def count_lines(bytes data not None):
    """See `framing.count_lines`."""
    cdef cursor at = <cursor>PyBytes_AS_STRING(data), end = at + PyBytes_GET_SIZE(data), stop
    cdef Py_ssize_t count = 0
    while at < end:
        stop = <cursor>memchr(at, c'\n', end - at)
        if stop == NULL:
            stop = end
        count += not is_blank(at, stop)
        at = stop + 1
    return count


cdef class RecordEncoder:
    """See `reference.RecordEncoder`."""

    cdef Schema schema
    cdef Format format
    cdef Room room
    cdef tuple key_names
    cdef list texts

    def __cinit__(self, keys, fmt, hints):
        rules = key_rules(keys)
        self.format = _FORMATS[fmt]
        self.texts = []
        self.key_names = tuple([rule.name for rule in rules.values()])
        self.lay_keys(rules)
        self.lay_hints(hint_tree(hints, rules))
        self.take_room(&self.room, SMALL_RECORD)

    def __dealloc__(self):
        drop_room(&self.room)
        PyMem_RawFree(self.schema.keys)
        PyMem_RawFree(self.schema.hints)
        PyMem_RawFree(self.schema.names)

    def encode(self, bytes record not None):
        """Encode one record, given without its newline; white space around it is no part of it."""
        cdef cursor begin = <cursor>PyBytes_AS_STRING(record)
        return self.encode_line(begin, begin + PyBytes_GET_SIZE(record), None, 0, 0)

    def encode_block(self, block not None):
        """Encode the lines of a block that are not blank, as `encode` does each of them."""
        cdef bytes data = block.data
        cdef Py_ssize_t offset = block.offset, dropped = block.dropped
        cdef cursor begin = <cursor>PyBytes_AS_STRING(data), at = begin, end = begin + PyBytes_GET_SIZE(data), stop
        cdef list entries = [], refused = []
        while at < end:
            stop = <cursor>memchr(at, c'\n', end - at)
            if stop == NULL:
                stop = end
            if not is_blank(at, stop):
                result = self.encode_line(at, stop, block, offset + (at - begin), dropped + (stop - at))
                if type(result) is EncodedRecord:
                    entries.append(result)
                else:
                    refused.append((offset + (at - begin), dropped + (stop - at), result))
            at = stop + 1
        return entries, refused

    cdef object encode_line(self, cursor at, cursor end, object block, Py_ssize_t offset, Py_ssize_t length):
        """What `conclude` makes of the record from `at` to `end`."""
        cdef Reader r
        cdef Room room
        if end - at <= SMALL_RECORD:
            self.prepare(&r, at, end, &self.room)
            read_record(&r, self.format)
            return self.conclude(&r, &self.room, block, offset, length)
        self.take_room(&room, end - at)
        try:
            self.prepare(&r, at, end, &room)
            with nogil:
                read_record(&r, self.format)
            return self.conclude(&r, &room, block, offset, length)
        finally:
            drop_room(&room)

    cdef int take_room(self, Room *room, Py_ssize_t length) except -1:
        """Take room for a record of this length."""
        length = max(length, 0)
        room.put = <uint8_t *>PyMem_RawMalloc(put_room(length))
        room.found = <Piece *>PyMem_RawMalloc(self.schema.key_count * sizeof(Piece) + spare_room(length))
        if room.put == NULL or room.found == NULL:
            drop_room(room)
            raise MemoryError
        return 0

    cdef void prepare(self, Reader *r, cursor at, cursor end, Room *room) noexcept:
        r.text.begin = at
        r.text.end = end
        r.text.verdict = FINE
        r.schema = &self.schema
        r.found = room.found
        memset(r.found, 0, self.schema.key_count * sizeof(Piece))
        r.to = room.put
        r.spare = <uint8_t *>(room.found + self.schema.key_count)
        r.faulty_key = -1
        r.size = r.length = r.raw_length = 0
        r.kind = OTHER
        r.table = NULL
        r.room = r.filled = r.scopes = 0

    cdef object conclude(self, Reader *r, Room *room, object block, Py_ssize_t offset, Py_ssize_t length):
        """An EncodedRecord of `block`, or a Put where there is none; Refused where the record can't be written."""
        cdef EncodedRecord entry
        PyMem_RawFree(r.table)
        if r.text.verdict == NO_MEMORY:
            raise MemoryError
        if r.text.verdict != FINE:
            name = self.key_names[r.faulty_key] if r.faulty_key >= 0 else None
            return refusal(_REASONS[r.text.verdict], r.text.position, name)
        request = PyBytes_FromStringAndSize(<char *>room.put, r.to - room.put)
        if block is None:
            return new_put(request, self.key_of(r), r.size)
        entry = EncodedRecord.__new__(EncodedRecord)
        entry.request = request
        entry.key = self.key_of(r)
        entry.size = r.size
        entry.block = block
        entry.offset = offset
        entry.length = length
        return entry

    cdef bytes key_of(self, Reader *r):
        """The primary key in canonical form: each part behind its length."""
        cdef Py_ssize_t length = 0
        cdef int index
        cdef uint8_t *to
        for index in range(self.schema.key_count):
            if self.schema.keys[index].required:
                length += 4 + r.found[index].length
        key = PyBytes_FromStringAndSize(NULL, length)
        to = <uint8_t *>PyBytes_AS_STRING(key)
        for index in range(self.schema.key_count):
            if self.schema.keys[index].required:
                length = r.found[index].length
                to[0], to[1], to[2], to[3] = length >> 24, length >> 16 & 255, length >> 8 & 255, length & 255
                memcpy(to + 4, r.found[index].text, length)
                to += 4 + length
        return key

    cdef cursor keep(self, bytes text):
        """The bytes of this object, kept for as long as the encoder lives."""
        self.texts.append(text)
        return <cursor>PyBytes_AS_STRING(text)

    cdef int lay_keys(self, object rules) except -1:
        cdef int index
        self.schema.key_count = len(rules)
        self.schema.keys = <Key *>PyMem_RawCalloc(max(self.schema.key_count, 1), sizeof(Key))
        if self.schema.keys == NULL:
            raise MemoryError
        for index, (name, rule) in enumerate(rules.items()):
            self.schema.keys[index].text = self.keep(name)
            self.schema.keys[index].length = len(name)
            self.schema.keys[index].type = _KINDS[rule.type]
            self.schema.keys[index].limit = rule.limit
            self.schema.keys[index].required = rule.required
        return 0

    cdef int lay_hints(self, object tree) except -1:
        """Lay the tree out flat: the names of a path side by side."""
        cdef int index
        rows, names, trees = [], [], [tree]
        for tree in trees:
            here = sorted(tree.members, key=lambda name: (len(name), name))
            rows.append((_KINDS[tree.kind], len(names), len(here), -1 if tree.elements is None else len(trees)))
            trees += [] if tree.elements is None else [tree.elements]
            for name in here:
                names.append((name, len(trees)))
                trees.append(tree.members[name])
        self.schema.hints = <Hint *>PyMem_RawCalloc(len(rows), sizeof(Hint))
        if self.schema.hints == NULL:
            raise MemoryError
        for index, (kind, first, count, elements) in enumerate(rows):
            self.schema.hints[index].kind = kind
            self.schema.hints[index].first = first
            self.schema.hints[index].count = count
            self.schema.hints[index].elements = elements
        return self.lay_names(names)

    cdef int lay_names(self, list names) except -1:
        cdef int index
        self.schema.names = <HintName *>PyMem_RawCalloc(max(len(names), 1), sizeof(HintName))
        if self.schema.names == NULL:
            raise MemoryError
        for index, (name, hint) in enumerate(names):
            self.schema.names[index].text = self.keep(name)
            self.schema.names[index].length = len(name)
            self.schema.names[index].hint = hint
        return 0


cdef inline bint is_blank(cursor at, cursor end) noexcept nogil:
    while at < end and (at[0] == c' ' or at[0] == c'\t' or at[0] == c'\r'):
        at += 1
    return at == end


cdef void drop_room(Room *room) noexcept:
    PyMem_RawFree(room.put)
    PyMem_RawFree(room.found)
    room.put = NULL
    room.found = NULL


cdef inline Py_ssize_t put_room(Py_ssize_t length) noexcept:
    """The most bytes of a put and what may be written beyond: `1,` becomes `{"N":"1"},`, and nothing grows more."""
    return 5 * length + 256 + SLACK


cdef inline Py_ssize_t spare_room(Py_ssize_t length) noexcept:
    """The most bytes that strings decoded and numbers in canonical form take: `1,` becomes `1e0`."""
    return 4 * length + 256


cdef object new_put(bytes request, bytes key, object size):
    """A `Put`, made as its type makes it, without the way there through arguments."""
    put_ = PyType_GenericAlloc(<PyTypeObject *>Put, 3)
    Py_INCREF(request)
    PyTuple_SET_ITEM(put_, 0, request)
    Py_INCREF(key)
    PyTuple_SET_ITEM(put_, 1, key)
    Py_INCREF(size)
    PyTuple_SET_ITEM(put_, 2, size)
    return put_
