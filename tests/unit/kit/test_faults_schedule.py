"""The same seed and the same requests meet the same faults, each kind as often as its rate says."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.kit.faults.schedule import DYNAMODB, KINDS, PRESETS, S3, Schedule


def test_the_same_seed_decides_the_same() -> None:
    first, second = (Schedule(7, PRESETS["heavy"]) for _ in range(2))
    fates = [first.decide("Scan", number) for number in range(500)]
    # In another order, and with other operations in between.
    for number in reversed(range(500)):
        second.decide("UploadPart", number)
        assert second.decide("Scan", number) == fates[number]
    assert [Schedule(8, PRESETS["heavy"]).decide("Scan", number) for number in range(500)] != fates
    assert len({fate.fault for fate in fates}) > 5


def test_what_a_seed_decides_is_the_same_in_any_process() -> None:
    schedule = Schedule(7, {"reset_before": 0.25, "error_500": 0.25})
    assert "".join((schedule.decide("Scan", number).fault or "-")[0] for number in range(24)) == EXPECTED


EXPECTED = "rr-r-e-err--eeer-er-r--e"


@pytest.mark.parametrize("operation", ["Scan", "BatchWriteItem", "UploadPart", "CompleteMultipartUpload", "GetObject"])
def test_every_kind_comes_at_its_rate(operation: str) -> None:
    rates = {kind: 0.02 * (1 + number % 3) for number, kind in enumerate(KINDS)}
    schedule = Schedule(1, rates, longest_pause=3.0)
    fates = [schedule.decide(operation, number) for number in range(20_000)]
    seen = Counter(fate.fault for fate in fates)
    kinds = {kind for kind, operations in KINDS.items() if operation in operations} - {"latency"}
    assert seen.keys() - {None} == kinds
    for kind in kinds:
        assert seen[kind] / len(fates) == pytest.approx(rates[kind], rel=0.25)
    pauses = [fate.pause for fate in fates if fate.pause]
    assert len(pauses) / len(fates) == pytest.approx(rates["latency"], rel=0.25)
    assert 2.9 < max(pauses) <= 3.0
    assert all(0 <= fate.point < 1 for fate in fates)


def test_the_control_plane_is_spared() -> None:
    schedule = Schedule(1, dict.fromkeys(KINDS, 0.05))
    assert {"DescribeTable", "CreateBucket", "Other"}.isdisjoint(DYNAMODB | S3)
    assert all(schedule.decide("DescribeTable", number) == (None, 0, 0) for number in range(1_000))


def test_presets_name_kinds_that_exist() -> None:
    for preset in PRESETS.values():
        Schedule(0, preset)
    assert "expired_token" not in PRESETS["heavy"]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"tsunami": 0.1}, "unknown kind of fault: tsunami"),
        ({"cut": 1.5}, "a rate is a probability"),
        ({"cut": -0.1}, "a rate is a probability"),
        ({"cut": 0.6, "reset_after": 0.6}, "come to more than 1"),
    ],
)
def test_wrong_rates_are_refused(rates: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(0, rates)
