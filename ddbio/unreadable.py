"""Errors of decoding JSON from outside."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for text that is not JSON, not of the expected type, or too deeply nested."""
