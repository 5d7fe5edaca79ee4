"""Text from outside as a person may see it: nothing in it steers a terminal, or passes for a line of ddbio's own."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators, and what changes the direction of writing."""
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def visible(text: str, encoding: str | None = None) -> str:
    """The text on one line; what steers a terminal, or has no place in this encoding, stands there as an escape."""
    escaped = _STEERING.sub(_escape, text)
    return escaped.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def indented(text: str) -> str:
    """Lines that stand below a message, and can't be taken for another one."""
    return "\n".join(f"  {visible(line)}" for line in text.rstrip("\n").split("\n"))


def trace(error: BaseException) -> str:
    """The traceback of an error, to be shown above its message."""
    return indented("".join(traceback.format_exception(error)))


def log_visibly(form: str = "%(message)s") -> None:
    """Send the log of a process that is ddbio's own, warnings of Python's included, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    """One line a record, and what belongs to it indented below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return visible(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the name is logging's
        return indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        return indented(super().formatStack(stack_info))
