"""Resume tokens: told in pieces, known whole."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ddbio.ledger.entries import Commit, FileState
from ddbio.ledger.journal import Journal
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.tokens import Token, join, since
from tests.kit.fakes import MemorySink, all_entries


def upload(parts: int) -> Token:
    return {"upload_id": "u", "parts": [[number * 8, f"etag{number}", ""] for number in range(1, parts + 1)]}


@given(st.lists(st.integers(0, 9), max_size=9))
def test_pieces_make_the_whole(grown: list[int]) -> None:
    known: Token | None = None
    told = 0
    for more in grown:
        whole = upload(told + more)
        piece = since(whole, told)
        assert len(piece["parts"]) == more
        known = join(known, piece)
        assert known == whole
        assert join(known, piece) == whole
        told += more


def test_tokens_without_parts_and_whole_tokens_stand_alone() -> None:
    assert since({"part": "a.part"}, 0) == {"part": "a.part"}
    assert join({"part": "a.part"}, {"part": "b.part"}) == {"part": "b.part"}
    assert join(upload(3), upload(5)) == upload(5)
    assert join(upload(3), None) is None


async def test_a_journal_of_pieces_after_whole_tokens_is_known_whole() -> None:
    """A run before this one told whole tokens; its file is known as well as one that was told in pieces."""
    sink = MemorySink()
    ledger = Ledger(Journal(sink))
    for seq, token in enumerate([upload(2), upload(3), since(upload(7), 3), since(upload(9), 7)], 1):
        state = FileState("T-0-0.json", 0, 0, "", "{}", seq, seq, seq * 8, 1, sealed=False, token=token)
        await ledger.record([Commit(split=0, epoch=1, seq=seq, position="{}", file=state)])
    again = Ledger()
    again.replay(await all_entries(Journal(sink)))
    for each in (ledger, again):
        assert each.files["T-0-0.json"].token == upload(9)
    told = [entry.file.token for entry in await all_entries(Journal(sink)) if isinstance(entry, Commit) and entry.file]
    assert [len((token or {})["parts"]) for token in told] == [2, 3, 4, 2]
    assert msgspec.json.encode(again.open_files()[0][1].token)
