"""How the arguments of every command are taken: nothing that was given is dropped silently."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer

from ddbio.cli import app, main
from ddbio.cli.parsing import Command
from tests.kit.marks import few

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = [(name, option) for name in COMMANDS for option in COMMANDS[name].params if not option.multiple]
SOME = range(0, len(OPTIONS), 8)


def refused(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err


@pytest.mark.parametrize(("command", "option"), few(OPTIONS, *SOME))
def test_an_option_that_is_given_twice_is_refused(
    command: str, option: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    long = max(option.opts, key=len)
    told = f"{' or '.join(option.opts)} is given 2 times, but may be given only once. See: ddbio {command} --help"
    if option.is_flag:
        refused(capsys, [command, long, long], told)
        return
    first, short = [long, "1"], min(option.opts, key=len)
    refused(capsys, [command, *first, short, "2"], told)
    refused(capsys, [command, f"{long}=1", short, "2"], told)
    if len(short) == 2:
        refused(capsys, [command, f"{short}1", f"{short}2"], told)


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_so_is_one_before_the_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, [flag, flag], f"{flag}")


@pytest.mark.parametrize(("command", "option"), few([each for each in OPTIONS if not each[1].is_flag], *SOME))
def test_a_value_that_is_empty_or_another_option_is_refused(
    command: str, option: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    long = max(option.opts, key=len)
    for empty in ([long, ""], [f"{long}="], [long, " \t"]):
        refused(capsys, [command, *empty], f"The value of {long} is empty")
    refused(capsys, [command, long, "caf\udce9"], f"The value of {long} is not UTF-8: 'caf\\udce9'.")
    refused(capsys, [command, long, "--verbose"], f"{long} has no value: --verbose looks like an option.")
    for short in (name for name in option.opts if len(name) == 2):
        refused(capsys, [command, f"{short}=x"], f"A short option takes its value without the =: write {long}=x.")


def test_a_value_like_an_option_can_be_joined_to_its_option() -> None:
    assert COMMANDS["import"].make_context("import", ["--table=-r", "-s", "-"]).params["table"] == "-r"


def test_an_option_that_takes_several_values_takes_them() -> None:
    several = typer.Typer()

    @several.command(cls=Command)
    def command(place: Annotated[list[str], typer.Option("--place", "-s")], once: bool = False) -> None:
        del place, once

    found = typer.main.get_command(several)
    assert list(found.make_context("x", ["-s", "a", "--place=b", "-sc"]).params["place"]) == ["a", "b", "c"]
    for wrong in (["-s", "a", "-s", ""], ["-s", "a", "-s", "--once"]):
        with pytest.raises(Exception, match="--place"):
            found.make_context("x", wrong)


@pytest.mark.parametrize(
    "option", ["--table", "--region", "--profile", "--endpoint-url", "--dynamodb-endpoint-url", "--s3-endpoint-url"]
)
def test_a_name_has_no_white_space_around_it(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    rest = [] if option == "--table" else ["-t", "T"]
    for value in (" x", "x\n"):
        refused(capsys, ["import", "-s", "in", *rest, option, value], f"{value!r} begins or ends with whitespace")


def test_a_json_object_has_no_name_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ('{"#a":"b","#a":"c"}', '{"#a":{"S":"b","S":"c"}}'):
        line = ["export", "-t", "T", "-d", "out", "--expression-values", text]
        refused(capsys, line, "an object has two members of the same name")


def test_standard_output_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["export", "-t", "T", "-d", "-", "--overwrite"], "--overwrite can't be used with standard output")


@pytest.mark.parametrize("option", ["--rejects", "--state"])
def test_files_of_its_own_are_no_standard_stream(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["import", "-t", "T", "-s", "in", option, "-"], "standard input and output can't be used here")
