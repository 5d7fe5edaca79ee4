"""The control file: what a person writes beside a running job to steer it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from ddbio.capacity import Control
from ddbio.clock import Clock, sleep
from ddbio.errors import DdbioError
from ddbio.events import Observer, Warned
from ddbio.options import Capacity
from ddbio.storage.base import OWN_FOLDER, Sink

CONTROL = f"{OWN_FOLDER}/control.json"
"""Where it lies, relative to the export's destination or the import's state folder."""
LOOK_SECONDS = 1.0
log = logging.getLogger("ddbio")


class Wishes(msgspec.Struct, forbid_unknown_fields=True):
    """What the control file may hold; what it leaves out stays as it is."""

    capacity: str | float | None = None
    """As after `--capacity`: `500`, `"50%"`, `"auto"`."""
    paused: bool | None = None


@asynccontextmanager
async def following(place: Sink | None, control: Control, clock: Clock, observer: Observer) -> AsyncIterator[None]:
    """Do what the control file in `place` says whenever it changes. What it says at the beginning does not count."""
    if place is None:
        yield
        return
    task = asyncio.create_task(_follow(place, control, clock, observer))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _follow(place: Sink, control: Control, clock: Clock, observer: Observer) -> None:
    seen = await _look(place)
    while True:
        await sleep(clock, LOOK_SECONDS)
        text = await _look(place)
        if text is not None and text != seen:
            _obey(text, control, observer)
        seen = text


async def _look(place: Sink) -> bytes | None:
    try:
        return await place.get(CONTROL)
    except DdbioError as error:  # what is wrong with the place is found out by those who write to it
        log.debug("the control file was not read: %s", error)
        return None


def _obey(text: bytes, control: Control, observer: Observer) -> None:
    try:
        wishes = msgspec.json.decode(text, type=Wishes)
        if wishes.capacity is not None:
            control.set_capacity(Capacity.parse(str(wishes.capacity)))
    except (msgspec.DecodeError, UnicodeDecodeError, DdbioError) as error:
        observer(Warned(f"{CONTROL} changes nothing: {error}"))
        return
    if wishes.paused is not None:
        (control.pause if wishes.paused else control.resume)()
