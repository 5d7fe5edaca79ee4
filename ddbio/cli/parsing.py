"""How arguments are taken: what is given is what counts, and nothing of it is dropped silently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

_OPTION = re.compile(r"-\D")
"""How an option begins; a negative number is none, and - alone is a standard stream."""


class Command(TyperCommand):
    """A command that refuses options which are repeated, have no value, or have another option for one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """The same, for the options before the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check(self, ctx, args)
        return super().parse_args(ctx, args)


def _check(command: TyperCommand | TyperGroup, context: Any, arguments: Sequence[str]) -> None:
    values, _, given = command.make_parser(context).parse_args(args=list(arguments))
    for option, times in Counter(given).items():
        if times > 1 and not option.multiple:
            context.fail(f"{' or '.join(option.opts)} is given {times} times, and may be given once only.")
        found = values[option.name]
        for value in found if option.multiple else [found]:
            # That of a flag is no text.
            if isinstance(value, str) and (doubt := _doubt(option.opts, value, arguments)):
                context.fail(doubt)


def _doubt(names: Sequence[str], value: str, arguments: Sequence[str]) -> str | None:
    """Why this value of an option is hardly what was meant."""
    name = max(names, key=len)
    if not value.strip():
        return f"The value of {name} is empty: is a variable of the shell not set?"
    if not _is_text(value):
        return f"The value of {name} is not UTF-8: {value!r}."
    if _OPTION.match(value) and value in arguments:
        return f"{name} has no value: {value} looks like an option. If it is the value, write {name}={value}."
    if value.startswith("=") and any(f"{short}{value}" in arguments for short in names if len(short) == 2):
        return f"A short option takes its value without the =: write {name}{value}."
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
