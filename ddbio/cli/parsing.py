"""Parsing of arguments: every value given counts, and none is dropped silently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

_OPTION = re.compile(r"-\D")
"""The beginning of an option; neither a negative number nor `-` for a standard stream matches."""


class Command(TyperCommand):
    """A command that refuses options which are repeated, have an empty value, or have another option as value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """The same for the options before the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _check(self, ctx, args)
        return super().parse_args(ctx, args)


def _check(command: TyperCommand | TyperGroup, context: Any, arguments: Sequence[str]) -> None:
    values, _, given = command.make_parser(context).parse_args(args=list(arguments))
    for option, times in Counter(given).items():
        if times > 1 and not option.multiple:
            context.fail(f"{' or '.join(option.opts)} is given {times} times, but may be given only once.")
        found = values[option.name]
        for value in found if option.multiple else [found]:
            # The value of a flag is a bool.
            if isinstance(value, str) and (doubt := _doubt(option.opts, value, arguments)):
                context.fail(doubt)


def _doubt(names: Sequence[str], value: str, arguments: Sequence[str]) -> str | None:
    """Return why this value of an option is probably a mistake."""
    name = max(names, key=len)
    if not value.strip():
        return f"The value of {name} is empty: is a shell variable unset?"
    if value.encode(errors="ignore").decode() != value:
        return f"The value of {name} is not UTF-8: {value!r}."
    if _OPTION.match(value) and value in arguments:
        return f"{name} has no value: {value} looks like an option. If it is the value, write {name}={value}."
    if value.startswith("=") and any(f"{short}{value}" in arguments for short in names if len(short) == 2):
        return f"A short option takes its value without the =: write {name}{value}."
    return None
