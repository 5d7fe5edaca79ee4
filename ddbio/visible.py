"""Escaping of text from outside, so that it can't control a terminal or look like a message of ddbio."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators, and characters that change the writing direction."""
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def visible(text: str, encoding: str | None = None) -> str:
    """Return the text as one line, with control characters and what the encoding lacks replaced by escapes."""
    escaped = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return escaped.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def indented(text: str) -> str:
    return "\n".join(f"  {visible(line)}" for line in text.rstrip("\n").split("\n"))


def trace(error: BaseException) -> str:
    return indented("".join(traceback.format_exception(error)))


def log_visibly(form: str = "%(message)s") -> None:
    """Send the log of one of ddbio's own processes, including Python's warnings, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    """One line per record, followed by indented details."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return visible(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the name is logging's
        return indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        return indented(super().formatStack(stack_info))
