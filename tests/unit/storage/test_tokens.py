"""Resume tokens: recorded in pieces, known whole."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ddbio.ledger.entries import Commit, FileState
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import START, AfterKey
from ddbio.storage.tokens import LocalToken, Part, Token, UploadToken
from tests.kit.fakes import MemorySink, all_entries


def upload(parts: int) -> UploadToken:
    return UploadToken("u", tuple(Part(number * 8, f"etag{number}", "") for number in range(1, parts + 1)))


@given(st.lists(st.integers(0, 9), max_size=9))
def test_pieces_make_the_whole(grown: list[int]) -> None:
    known: Token | None = None
    told = 0
    for more in grown:
        whole = upload(told + more)
        piece = whole.since(told)
        assert len(piece.parts) == more
        known = piece.joined(known)
        assert known == whole
        assert piece.joined(known) == whole
        told = piece.parts_recorded
        assert told == len(whole.parts)


def test_a_token_without_parts_stands_for_itself() -> None:
    assert LocalToken("a.part").since(0) == LocalToken("a.part")
    assert LocalToken("b.part").joined(LocalToken("a.part")) == LocalToken("b.part")
    assert upload(5).joined(upload(3)) == upload(5)


async def test_a_journal_of_pieces_after_whole_tokens_is_known_whole() -> None:
    sink = MemorySink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    for seq, token in enumerate([upload(2), upload(3), upload(7).since(3), upload(9).since(7)], 1):
        state = FileState("T-0-0.json", 0, 0, START, AfterKey("{}"), seq, seq, seq * 8, 1, sealed=False, token=token)
        await ledger.record([Commit(split=0, epoch=1, seq=seq, position=AfterKey("{}"), file=state)])
    again = Ledger(ExportLaw())
    again.replay(await all_entries(Journal(sink)))
    for each in (ledger, again):
        assert each.files["T-0-0.json"].token == upload(9)
    found = [entry.file.token for entry in await all_entries(Journal(sink)) if isinstance(entry, Commit) and entry.file]
    assert [len(token.parts) for token in found if isinstance(token, UploadToken)] == [2, 3, 4, 2]
    assert msgspec.json.encode(again.open_files()[0][1].token)
