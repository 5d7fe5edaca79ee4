"""Text from outside on its way to a terminal: it steers nothing, and is no line of its own."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from ddbio.cli.failures import Exit, fail, put, say
from ddbio.cli.run import choose_display, resume_command
from ddbio.errors import RefusedError
from ddbio.visible import visible
from tests.kit.terminal import PLAN, Terminal, progress

HOSTILE = "x\x1b]0;PWNED\x07\nwarning: all fine"
SHOWN = r"x\x1b]0;PWNED\x07\nwarning: all fine"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Orders/é ✓.json", "Orders/é ✓.json"),
        (HOSTILE, SHOWN),
        ("\x00\t\r\x7f", r"\x00\t\r\x7f"),
        ("\x85\x9b2J", r"\x85\x9b2J"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202egnp.exe\u2066\u2069\u200f\u061c", r"\u202egnp.exe\u2066\u2069\u200f\u061c"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "é → \\n"), ("latin-1", r"é \u2192 \n"), ("ascii", r"\xe9 \u2192 \n")]
)
def test_any_encoding_takes_a_message(encoding: str, shown: str) -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, errors="strict") as stream:
        put("é → \n", stream)
        assert written.getvalue() == f"{shown}\n".encode(encoding)


def test_an_error_with_its_traceback_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = RefusedError("ValidationException", HOSTILE, status=400)
    error.add_note("note\nerror: forged")
    assert fail(error, verbose=True) is Exit.FAILED
    *trace, message = capsys.readouterr().err.splitlines()
    assert message == f"error: ValidationException: {SHOWN}"
    assert trace
    assert all(line.startswith("  ") for line in trace)
    assert "\x1b" not in "".join(trace)


def test_a_log_record_is_one_line_and_its_traceback_is_indented() -> None:
    code = f"""
import logging, warnings
from ddbio.visible import log_visibly
log_visibly()
log = logging.getLogger("any")
log.warning("%s", {HOSTILE!r})
try:
    raise ValueError({HOSTILE!r})
except ValueError:
    log.exception("failed")
warnings.warn({HOSTILE!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    first, failed, *rest = done.stderr.decode().splitlines()
    assert (first, failed) == (SHOWN, "failed")
    *trace, warned = rest
    assert all(line.startswith("  ") for line in trace)
    assert SHOWN in warned
    assert b"\x1b" not in done.stderr


def test_the_live_bar_and_the_lines_above_it_show_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with choose_display(quiet=False, plain=False) as shown:
        shown(replace(PLAN, location=f"{HOSTILE} :key:"))
        shown(replace(progress(5.0), reason=f"throttled by index {HOSTILE}"))
        shown.say("the end")
    text = terminal.getvalue()
    assert "\x1b]0;" not in text
    assert f"to {SHOWN} :key:: account" in text
    assert f"throttled by index {SHOWN}" in text


WORDS = ["plain", "two words", "it's", "$HOME", "\x1b[1m", "'\n\\é\u202e", "→", os.fsdecode(b"\xff\xe9")]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_the_command_to_go_on_can_be_pasted(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        line = resume_command(["ddbio", "import", *WORDS, "--"])
        say(line)
        stream.flush()
        pasted = stream.buffer.getvalue()
    done = subprocess.run(
        ["bash", "-c", b"ddbio() { printf '%s\\0' \"$@\"; }\n" + line.encode(encoding)],
        capture_output=True,
        check=True,
    )
    assert pasted == f"{line}\n".encode(encoding)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in ["import", *WORDS, "--resume"]]


def test_words_that_need_no_escapes_are_quoted_as_usual() -> None:
    assert resume_command(["ddbio", "import", "-s", "a b"]) == f"ddbio import -s {shlex.quote('a b')} --resume"
