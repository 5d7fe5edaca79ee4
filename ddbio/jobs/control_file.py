"""What steers a running job from outside: the control file, which a user writes, and the capacity of the table."""

from __future__ import annotations

import asyncio
import logging
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from ddbio.capacity import Control
from ddbio.clock import Clock, sleep
from ddbio.errors import DdbioError
from ddbio.events import Observer, Steered, Warned
from ddbio.options import Capacity
from ddbio.storage.base import OWN_FOLDER, Sink
from ddbio.unreadable import UNREADABLE

CONTROL = f"{OWN_FOLDER}/control.json"
"""Its name, relative to the destination of an export or the state folder of an import."""
POLL_SECONDS = 1.0
"""How often the control file is read."""
TABLE_SECONDS = 60.0
"""How often the table is described: autoscaling changes its capacity within minutes."""
MAX_BYTES = 64 * 1024
"""A larger file is not a control file."""
log = logging.getLogger("ddbio")


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """The contents of the control file; what it leaves out stays unchanged."""

    capacity: str | float | None = None
    """As for `--capacity`: `500`, `"50%"`, `"auto"`."""
    paused: bool | None = None


@asynccontextmanager
async def following(state: Sink | None, control: Control, clock: Clock, observer: Observer) -> AsyncIterator[None]:
    """Apply the control file in `state` each time it changes; what it holds at the beginning is ignored.

    A budget that adapts is also limited to the capacity that the table has at the time.
    """
    tasks = [asyncio.create_task(_follow_table(control, clock))]
    if state is not None:
        tasks.append(asyncio.create_task(_follow(state, control, clock, observer)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _follow_table(control: Control, clock: Clock) -> None:
    while True:
        await sleep(clock, TABLE_SECONDS)
        try:
            await control.follow_table()
        except DdbioError as error:  # the budget stays as it is until the next attempt
            log.debug("the table's capacity is not known: %s", error)


async def _follow(state: Sink, control: Control, clock: Clock, observer: Observer) -> None:
    seen: bytes | None = None
    looked = warned = False
    while True:
        try:
            text = await state.get(CONTROL, most=MAX_BYTES)
        except DdbioError as error:  # unlike a missing file, this does not make the last contents new
            if not warned:
                observer(Warned(f"{CONTROL} could not be read, and is tried again: {error}"))
            warned = True
        else:
            if looked and text is not None and text != seen:
                await _apply(text, control, observer)
            seen, looked = text, True
        await sleep(clock, POLL_SECONDS)


async def _apply(text: bytes, control: Control, observer: Observer) -> None:
    try:
        changes = msgspec.json.decode(text.removeprefix(BOM_UTF8), type=Changes)
        if changes.capacity is not None:
            await _set_capacity(_capacity(changes.capacity), control, observer)
    except (*UNREADABLE, DdbioError) as error:
        known = " (it knows capacity and paused)" if isinstance(error, msgspec.ValidationError) else ""
        observer(Warned(f"{CONTROL} changes nothing: {error}{known}"))
        return
    if changes.paused is not None:
        pause(control, observer, changes.paused)


async def _set_capacity(capacity: Capacity, control: Control, observer: Observer) -> None:
    rate = await control.set_capacity(capacity)
    if rate is not None:
        what = f"{_figure(rate)} units/s from now on"
        if capacity.auto:
            most = "" if capacity.units is None else f", at most {_figure(capacity.units)}"
            what = f"auto, beginning with {_figure(rate)} units/s{most}"
        observer(Steered(f"Capacity: {what}."))


def _figure(rate: float) -> str:
    return f"{rate:,.1f}".removesuffix(".0")


def pause(control: Control, observer: Observer, paused: bool) -> None:
    """Pause the job or continue it, and report that, unless nothing changes."""
    if paused != control.paused:
        (control.pause if paused else control.resume)()
        observer(Steered("Paused: no new requests." if paused else "Going on."))


def _capacity(text: str | float) -> Capacity:
    return Capacity.parse(text) if isinstance(text, str) else Capacity(units=text)
