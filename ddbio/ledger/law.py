"""The ledger law of each kind of job: which counts must agree, and what counts as progress."""

from __future__ import annotations

from typing import Protocol

from ddbio.errors import LedgerError
from ddbio.ledger.positions import START
from ddbio.ledger.state import JobState
from ddbio.words import count


class Law(Protocol):
    def check(self, state: JobState) -> None:
        """Raises LedgerError, with the counts, where they do not agree at the job's end."""

    def has_progress(self, state: JobState) -> bool:
        """Whether a run that resumes the job would find anything done."""


class ExportLaw:
    """What the service counted is written, and it is in files that are sealed."""

    def check(self, state: JobState) -> None:
        if state.read != state.written:
            raise _differ(f"Read {state.read:,} records, but wrote {state.written:,}.")
        unsealed = [name for name, file in state.files.items() if not file.sealed]
        if unsealed:
            raise _differ(f"{count(len(unsealed), 'file was', 'files were')} not finished, {unsealed[0]} among them.")
        in_files = sum(file.items for file in state.files.values())
        if in_files != state.written:
            raise _differ(f"Wrote {state.written:,} items, but the files hold {in_files:,}.")

    def has_progress(self, state: JobState) -> bool:
        # With a filter, an export may be almost done without having found an item.
        return bool(state.files or state.done or any(split.position != START for split in state.splits.values()))


class ImportLaw:
    """Every record that was read is written or rejected."""

    def check(self, state: JobState) -> None:
        if state.read != state.written + state.rejected:
            raise _differ(f"Read {state.read:,} records, but wrote {state.written:,} and rejected {state.rejected:,}.")

    def has_progress(self, state: JobState) -> bool:
        return bool(state.read or state.rejected)


class VerifyLaw:
    """Every split that was begun is done, and nothing is left for another run."""

    def check(self, state: JobState) -> None:
        if state.splits:
            raise _differ(f"{count(len(state.splits), 'split was', 'splits were')} verified only in part.")

    def has_progress(self, state: JobState) -> bool:  # noqa: ARG002 - the protocol's parameter
        return False


def _differ(counts: str) -> LedgerError:
    return LedgerError(counts, hint="Do not trust the result; please report this.")
