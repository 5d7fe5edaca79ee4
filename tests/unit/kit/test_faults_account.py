"""The proxy's account: what was served, how often, and whether that was too much; and the proxy by hand."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.conftest import StartCounting
from tests.kit.faults.account import FaultAccount, PageId, Served, Work, put_id
from tests.kit.servers.aws import Server
from tests.kit.servers.client import call, put_of
from tests.kit.servers.items import make_item
from tests.kit.servers.process import run_faults
from tests.kit.servers.tables import Table


def page(start: str, segment: int = 0) -> Work:
    return Work("read", 1.0, 10, page=PageId("T", segment, 4, start))


def puts(*numbers: int) -> Work:
    return Work("write", len(numbers), len(numbers), puts=tuple(put_id(number) for number in numbers))


def account_of(*works: Work) -> FaultAccount:
    account = FaultAccount()
    for work in works:
        account.note(work, told=True)
    return account


UNDISTURBED = account_of(page(""), page("a"), page("b"), puts(1, 2, 3)).served


def test_an_undisturbed_run_is_its_own_bound() -> None:
    assert UNDISTURBED == (3, 3)
    account = account_of(page(""), page("a"), page("b"), puts(1, 2, 3))
    assert account.judge(UNDISTURBED, 0, Served(5, 5)) == []


def test_each_kill_may_repeat_one_commit_interval() -> None:
    works = [page(""), page("a"), page("a"), page("b"), page("b"), puts(1, 2, 3), puts(2, 3)]
    account = account_of(*works)
    assert account.judge(UNDISTURBED, 1, Served(2, 2)) == []
    assert account.judge(UNDISTURBED, 1, Served(1, 1)) == [
        "5 pages served, at most 4 allowed after 1 kills",
        "5 puts served, at most 4 allowed after 1 kills",
    ]
    assert len(account.judge(UNDISTURBED, 0, Served(2, 2))) == 4


def test_one_page_is_served_once_more_for_each_kill() -> None:
    account = account_of(page(""), page("a"), page("a"), page("a"), page("", segment=1))
    (violation,) = account.judge(Served(5, 0), 1, Served(9, 9))
    assert violation == ("segment 0 of 4 of T: the page after a was served 3 times, at most 2 allowed after 1 kills")
    assert account.judge(Served(5, 0), 2, Served(9, 9)) == []


def test_what_no_client_was_told_is_not_held_against_it() -> None:
    account = account_of(page(""))
    for _ in range(5):
        account.note(page(""), told=False)
        account.note(puts(1), told=False)
    assert account.judge(Served(1, 0), 0, Served(0, 0)) == []
    assert account.done.totals("read").requests == 6


def test_the_busiest_window_is_a_bound_for_a_commit() -> None:
    assert account_of(page(""), page("a"), puts(1, 2, 3), puts(4)).busiest(60.0) == (2, 4)


def test_a_put_is_known_by_its_item() -> None:
    assert put_id({"a": 1, "b": 2}) == put_id({"b": 2, "a": 1}) != put_id({"a": 1, "b": 3})


def read_json(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as reply:
        return json.load(reply)


async def test_by_hand_it_tells_its_account(counting: StartCounting) -> None:
    counted = await counting(Table(mode="stored", items=10))
    options = ("--seed", "3", "--rate", "unprocessed=1", "--capacity", "1000", "1000", "--key-life", "9")
    writes = [put_of(make_item("small", 1, index)) for index in range(5)]
    with run_faults(Server("counting", counted.url), *options) as proxy:
        left = (await call(proxy, "BatchWriteItem", RequestItems={"T": writes})).json["UnprocessedItems"]["T"]
        for _ in range(2):
            assert (await call(proxy, "Scan", TableName="T", Segment=1, TotalSegments=2)).status == 200
        account = read_json(f"{proxy.url}/_account?window=7&pages")
        taken = len(writes) - len(left)
        assert account["served"] == {"pages": 2, "puts": taken}
        assert account["times"] == {"pages": {"2": 1}, "puts": {"1": taken}}
        assert account["pages"] == [{"table": "T", "segment": 1, "segments": 2, "start": "", "times": 2}]
        assert (account["seed"], account["rates"]) == (3, {"unprocessed": 1.0})
        assert account["faults"] == {"unprocessed": 1}
        assert account["operations"] == {"BatchWriteItem": 1, "Scan": 2}
        assert account["told"]["read"]["max_window"] == {"7": 1.0}
        assert account["keys"] == {"issued": 0, "failed": 0, "refused": 0}
        read_json(f"{proxy.url}/_account", "DELETE")
        assert read_json(f"{proxy.url}/_account")["served"] == {"pages": 0, "puts": 0}


async def test_a_new_seed_is_printed() -> None:
    with run_faults(Server("none", "http://127.0.0.1:9"), "--faults", "heavy") as first:
        seed = read_json(f"{first.url}/_account")["seed"]
        with run_faults(Server("none", "http://127.0.0.1:9"), "--faults", "heavy") as second:
            assert read_json(f"{second.url}/_account")["seed"] != seed
