"""What a person is told while a job runs."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from ddbio.cli.common import OutputOptions
from ddbio.cli.failures import Exit
from ddbio.cli.figures import JobTracker, duration, plan_line, size, summary
from ddbio.cli.progress import LogLines, QuietDisplay
from ddbio.cli.run import choose_display, report_moved, resume_command
from ddbio.events import JobPlanned, Progress, Steered, Warned
from ddbio.report import JobReport, Moment, Spending
from tests.kit.terminal import PLAN, Terminal, progress

IMPORT = replace(
    PLAN, command="import", table_bytes=None, table_items=None, source_bytes=1_000_000, splits=1, processes=1
)
REPORT = JobReport(
    command="export",
    table="Orders",
    items=200_000,
    bytes=34_600_000,
    files=1,
    rejected=0,
    rejects=None,
    used=Spending(capacity_units=4_321.5, requests=33, throttles=2, retries=3, seconds=10.0, cpu_seconds=3.4),
    peak_rss_bytes=210_000_000,
    resumed=False,
    manifest="out/_ddbio/manifest.json",
)


def course(plan: JobPlanned, *events: Progress) -> JobTracker:
    tracker = JobTracker(plan)
    for event in events:
        tracker.add(event)
    return tracker


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (34_600_000, "34.6 MB"), (2.5e12, "2.5 TB"), (7e15, "7000.0 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (12.34, "12.3 s"), (60, "1 min 0 s"), (425, "7 min 5 s"), (12_000, "3 h 20 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plan_names_what_a_person_must_know_before_paying() -> None:
    line = plan_line(PLAN)
    for part in ("Orders", "out", "123456789012", "eu-west-1", "500,000 items", "81.9 MB", "500 RCU/s", "about 20.0 s"):
        assert part in line
    assert "\n" not in line
    assert "at least 20.0 s" in plan_line(IMPORT)
    assert "time unknown" in plan_line(replace(PLAN, expected_seconds=None))


def test_plan_of_a_resumed_job_tells_what_is_done_and_left() -> None:
    line = plan_line(replace(PLAN, items_done=1_500))
    assert line.endswith("1,500 items already done, about 20.0 s left")


def test_line_shows_rates_of_the_latest_seconds() -> None:
    now = course(
        PLAN,
        progress(0.0),
        progress(10.0, items=1_000, bytes=10_000_000, units=100, splits_done=1),
        progress(15.0, items=60_000, bytes=60_000_000, units=2_600, splits_done=8),
    )
    assert now.line() == "60,000 items · 500 of 500 RCU/s · 42.7 s left · 8 of 64 segments · 10.0 MB/s"


def test_line_of_a_paused_job_tells_its_later_budget() -> None:
    now = course(
        PLAN, progress(0.0), progress(10.0, budget=800.0), replace(progress(12.0, budget=0.0), reason="paused")
    )
    assert now.line() == "0 items · 0 of 800 RCU/s · paused · 0 of 64 segments · 0.0 MB/s"


def test_line_tells_throttles_and_rejects_only_if_any() -> None:
    assert "throttled" not in course(IMPORT, progress(1.0)).line()
    assert "3 throttled · 2 rejected" in course(IMPORT, progress(1.0, throttles=3, rejected=2)).line()


def test_done_takes_the_measure_that_is_furthest() -> None:
    assert course(PLAN, progress(1.0, splits_done=16)).done() == 0.25
    assert course(PLAN, progress(1.0, items=250_000, splits_done=16)).done() == 0.5
    assert course(PLAN, progress(1.0, units=7_500)).done() == 0.75
    assert course(IMPORT, progress(1.0, bytes=400_000)).done() == 0.4
    assert course(PLAN, progress(0.0, units=30_000), progress(1.0, units=32_000)).done() == 0.8  # 10,000 were left


def test_done_is_whole_only_when_every_unit_is() -> None:
    assert course(PLAN, progress(1.0, items=900_000)).done() == 0.99
    assert course(IMPORT, progress(1.0, bytes=9_000_000)).done() == 0.99
    assert course(PLAN, progress(1.0, splits_done=64)).done() == 1.0


def test_recent_events_are_bounded() -> None:
    now = course(PLAN, *(progress(number / 4, items=number) for number in range(10_000)))
    assert "250" not in now.line().split(" · ")[0]
    assert len(now._recent) <= 25


def test_log_lines_come_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with LogLines() as shown:
        shown(progress(0.0))
        shown(PLAN)
        for quarter in range(1, 49):
            shown(progress(quarter / 4, items=quarter))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" · ")[0] for line in err.splitlines()[1:]] == ["20 items", "40 items"]


def test_silence_lets_warnings_through(capsys: pytest.CaptureFixture[str]) -> None:
    with QuietDisplay() as shown:
        shown(PLAN)
        shown(progress(100.0))
        shown(Steered("Paused."))
        shown.info("done")
        shown(Warned("little space"))
    assert capsys.readouterr() == ("", "warning: little space\n")


def test_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with choose_display(quiet=False, plain=False) as shown:
        shown(PLAN)
        shown(progress(5.0, items=250_000, splits_done=1))
        shown(Warned("look [out]"))
    text = terminal.getvalue()
    assert "warning: look [out]" in text
    assert "250,000 items" in text
    assert "50%" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor must be back"


def test_a_terminal_that_goes_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with choose_display(quiet=False, plain=False) as shown:
            shown(PLAN)
            os.close(ours)
            shown(progress(5.0, items=250_000))
            shown(Warned("Nobody sees this."))


def test_a_pause_does_not_count_for_the_time_that_is_left() -> None:
    working = [progress(0.0), progress(5.0, splits_done=16, budget=500), progress(10.0, splits_done=32, budget=500)]
    paused = [progress(12.0, splits_done=32, budget=0), progress(3_610.0, splits_done=32, budget=0)]
    assert " left " not in course(PLAN, *working, *paused).line()
    assert " · 10.0 s left · " in course(PLAN, *working).line()
    assert " · 10.0 s left · " in course(PLAN, *working, *paused, progress(3_610.0, splits_done=32, budget=500)).line()


def test_a_resumed_job_goes_on_where_its_earlier_runs_ended() -> None:
    begun = progress(0.0, items=250_000, bytes=50_000_000, units=1_000, splits_done=32)
    first = course(PLAN, begun)
    assert first.line() == "250,000 items · 0 of 500 RCU/s · 32 of 64 segments · 0.0 MB/s"
    first.add(progress(10.0, items=375_000, bytes=60_000_000, units=3_500, splits_done=48))
    assert first.line() == "375,000 items · 250 of 500 RCU/s · 10.0 s left · 48 of 64 segments · 1.0 MB/s"


@pytest.mark.parametrize(("quiet", "plain", "kind"), [(True, False, QuietDisplay), (False, True, LogLines)])
def test_no_bar_where_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, plain: bool, kind: type[QuietDisplay]
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert type(choose_display(quiet=quiet, plain=plain)) is kind


def test_summary_tells_what_was_done_and_used() -> None:
    assert summary(REPORT) == [
        "Exported 200,000 items (34.6 MB, 1 file) from Orders in 10.0 s: 20,000 items/s.",
        "Used 4,321.5 read units in 33 requests, 2 throttled, 3 retried; 3.4 s of CPU, 210.0 MB of memory.",
        "Manifest: out/_ddbio/manifest.json",
    ]


def test_summary_of_a_job_that_was_finished_before_is_no_news() -> None:
    first, second, _ = summary(replace(REPORT, peak_rss_bytes=0), earlier=True)
    assert first == "Exported earlier: 200,000 items (34.6 MB, 1 file) from Orders in 10.0 s: 20,000 items/s."
    assert second.endswith("3 retried; 3.4 s of CPU.")


@pytest.mark.parametrize(
    ("line", "resumed"),
    [
        ("import -t T -s in", "import -t T -s in --state /x/st --resume"),
        ("import -t T --state st -s in --resume", "import -t T --state /x/st -s in --resume"),
        ("import --state=st -t T -s in", "import --state=/x/st -t T -s in --resume"),
    ],
)
def test_the_command_to_resume_an_import_works_in_any_folder(line: str, resumed: str) -> None:
    assert resume_command(["/bin/ddbio", *line.split()], "/x/st") == f"ddbio {resumed}"


def test_the_hint_after_too_many_rejects_has_a_higher_limit() -> None:
    line = ["ddbio", "import", "--strict", "-s", "in", "--max-rejects", "5"]
    assert resume_command(line, more_rejects=True) == "ddbio import -s in --max-rejects N --resume"


def test_the_report_has_no_noise_of_binary_fractions() -> None:
    told = replace(
        REPORT, used=Spending(seconds=0.1 + 0.2), timeline=(Moment(seconds=1.0049999999, budget=0.1 + 0.2),)
    ).as_dict()
    assert (told["seconds"], told["timeline"][0]["seconds"], told["timeline"][0]["budget"]) == (0.3, 1.005, 0.3)


def test_a_standard_error_that_nobody_reads_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        monkeypatch.setattr(sys, "stderr", unread)
        for _ in range(2):
            LogLines()(Warned("Nobody reads this."))


@pytest.mark.parametrize(("planned", "code"), [(True, Exit.REJECTED), (False, Exit.DONE)])
def test_an_import_finished_before_has_rejected_nothing_now(planned: bool, code: Exit) -> None:
    shown = QuietDisplay()
    if planned:
        shown(IMPORT)
    assert (
        report_moved(replace(REPORT, command="import", rejected=1, rejects="r.jsonl"), OutputOptions(), shown) == code
    )
