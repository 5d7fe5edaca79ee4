"""How far a split is read: a tagged value, in leases, commits and the journal."""

from __future__ import annotations

from typing import Annotated

import msgspec

Natural = Annotated[int, msgspec.Meta(ge=0)]


class AtStart(msgspec.Struct, frozen=True, tag_field="at", tag="start"):
    """Nothing of the split is read."""


class AfterKey(msgspec.Struct, frozen=True, tag_field="at", tag="key"):
    """An export has read its segment up to and including this key."""

    key: str
    """The LastEvaluatedKey as compact JSON, byte for byte as the service sent it."""


class AtEnd(msgspec.Struct, frozen=True, tag_field="at", tag="end"):
    """An export has read its segment to the end."""


class AtOffset(msgspec.Struct, frozen=True, tag_field="at", tag="offset"):
    """An import has settled every record that begins before this offset in the (uncompressed) file."""

    offset: Natural


Position = AtStart | AfterKey | AtEnd | AtOffset

START, END = AtStart(), AtEnd()
