# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The codec in C, one pass and no Python object an attribute: see `reference.py` for what it does, to the byte."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ddbio.codec import hints as _hints
from ddbio.codec import model as _model
from ddbio.codec._faults import refusal
from ddbio.codec._keys import Keys, hint_tree
from ddbio.codec._pages import malformed, missing
from ddbio.codec._paths import child_path
from ddbio.codec.model import Page, Put, Reason

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1

cdef extern from "_scan.h" nogil:
    const int SLACK "DDBIO_SLACK"
    const uint32_t LONE "DDBIO_LONE"
    const int64_t POWER_LIMIT "DDBIO_POWER_LIMIT"
    size_t copy_plain "ddbio_copy_plain"(uint8_t *to, const uint8_t *source, const uint8_t *end) noexcept
    void copy "ddbio_copy"(uint8_t *to, const uint8_t *source, size_t length, const uint8_t *end) noexcept
    const uint8_t *invalid_utf8 "ddbio_invalid_utf8"(const uint8_t *at, const uint8_t *end) noexcept
    uint64_t hash_of "ddbio_hash"(const uint8_t *text, size_t length, uint64_t key0, uint64_t key1) noexcept

cdef int MAX_DIGITS = _model.MAX_DIGITS
cdef int MAX_NESTING = _model.MAX_NESTING
cdef Py_ssize_t MAX_ITEM_BYTES = _model.MAX_ITEM_BYTES
...
