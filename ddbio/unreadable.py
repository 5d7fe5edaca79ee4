"""JSON from outside that can't be read."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for what is no JSON, or other JSON than it expects, or too deeply nested."""
