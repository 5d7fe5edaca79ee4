"""Jobs whose fleet is tuned otherwise than in production."""

from __future__ import annotations

from typing import Any

import pytest

from ddbio.fleet.desk import Desk
from ddbio.fleet.tuning import Tuning
from ddbio.jobs import run


def journal_at_once(patch: pytest.MonkeyPatch) -> None:
    """Every Report's commits become durable without delay, in each job that begins from now on."""

    def desk(*given: Any, **named: Any) -> Desk:
        return Desk(*given, **{**named, "tuning": Tuning(journal_seconds=0.0)})

    patch.setattr(run, "Desk", desk)
