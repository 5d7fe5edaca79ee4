"""What README and the help texts say, held against the program."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

import ddbio
from ddbio.cli import app
from ddbio.cli.failures import Exit
from ddbio.ledger.entries import Reject
from ddbio.model import Reason
from ddbio.report import JobReport, VerifyReport

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SHARED = ("export", "import")


def section(title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def option_table(command: str) -> str:
    """The rows of README's tables that are about one command."""
    text = section("Options")
    own = text.split(f"Of `{command}`:")[1].split("\nOf `")[0]
    return own + (text.split("Of `export` and `import`:")[1].split("\nOf `")[0] if command in SHARED else "")


def options(command: str) -> list[Any]:
    return [each for each in COMMANDS[command].params if each.name != "help"]


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def example_lines() -> list[str]:
    """Every command line of ddbio in README and in the help texts, without what it is piped to or from."""
    joined = "\n".join([*fenced("sh"), *(command.epilog for command in COMMANDS.values())]).replace("\\\n", " ")
    pipes = [part.strip() for line in joined.splitlines() for part in line.split(" | ")]
    return [part for part in pipes if part.startswith("ddbio ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_in_readme_and_help(command: str) -> None:
    table = option_table(command)
    for option in options(command):
        for name in option.opts:
            assert f"`{name}" in table, f"README does not explain {command} {name}"
        assert option.help, f"{command} {option.opts} has no help"


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_explains_no_option_that_does_not_exist(command: str) -> None:
    known = {name for option in options(command) for name in option.opts}
    first_cells = re.findall(r"^\| (`-.*?`) \|", option_table(command), re.MULTILINE)
    assert {name for cell in first_cells for name in re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", cell)} <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_gives_the_defaults(command: str) -> None:
    table = option_table(command)
    for option in options(command):
        if isinstance(option.default, str | int) and not isinstance(option.default, bool):
            row = next(line for line in table.splitlines() if f"`{option.opts[0]}" in line)
            assert row.replace("`", "").endswith(f"| {option.default} |")


def test_readme_explains_every_command_and_short_flag() -> None:
    assert set(COMMANDS) == {"export", "import", "verify", "generate", "demo"}
    short = {name: {flag for option in options(name) for flag in option.opts if len(flag) == 2} for name in COMMANDS}
    assert short == {
        "export": {"-r", "-t", "-p", "-c", "-s", "-d"},
        "import": {"-r", "-t", "-p", "-c", "-s"},
        "verify": {"-r", "-t", "-c", "-s"},
        "generate": {"-c", "-f"},
        "demo": set(),
    }


@pytest.mark.parametrize("line", example_lines())
def test_examples_are_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] in COMMANDS and "--help" not in words:
        COMMANDS[words[0]].make_context(words[0], words[1:])


def test_there_are_examples_of_every_command() -> None:
    assert {line.split()[1] for line in example_lines()} >= {"export", "import", "verify", "generate", "demo"}


def test_marked_commands_are_one_line_and_use_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for mark, end in (("demo", ".venv/bin/ddbio demo"), ("test", ".venv/bin/pytest -q -n 3")):
        line = README.split(f"<!-- {mark}-command -->\n```sh\n")[1].split("\n```")[0]
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert line.endswith(f" && {end}")
        assert f"'.[{mark}]'" in line
        assert mark in extras


def test_library_example_names_what_exists() -> None:
    (example,) = fenced("python")
    tree = ast.parse(example)
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in imported for alias in node.names}
    assert {"export_table", "import_table", "scan", "BatchWriter"} <= names <= set(ddbio.__all__)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id.endswith(("Options", "Connection", "Capacity")):
            fields = getattr(ddbio, call.func.id).__dataclass_fields__
            assert {keyword.arg for keyword in call.keywords} <= set(fields)


def test_every_reason_of_a_reject_is_listed() -> None:
    text = section("Import").partition("Reasons:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9_]+)`", text)) == set(Reason)


def test_every_member_of_a_reject_is_explained() -> None:
    for name in Reject.__struct_fields__:
        assert f"`{name}`" in section("Import")


@pytest.mark.parametrize("command", SHARED)
def test_readme_and_help_say_the_same_of_memory(command: str) -> None:
    told = " ".join(COMMANDS[command].epilog.partition("\nMemory of ")[2].split())
    formula, _, growth = told.rpartition(" It does not grow")
    readme = " ".join(README.replace("×", "x").split())
    assert f"Memory of {formula} It does not grow{growth.rstrip('.')}" in readme


def test_every_exit_code_is_explained() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)}
    assert codes == set(Exit)


def test_report_keeps_the_fields_that_scripts_read() -> None:
    contract = """command table items bytes files rejected rejects capacity_units requests throttles retries seconds
        cpu_seconds peak_rss_bytes resumed manifest reject_reasons throttle_reasons timeline"""
    assert list(JobReport.__dataclass_fields__) == contract.split()
    for name in JobReport.__dataclass_fields__:
        assert f"`{name}`" in README, f"README does not explain {name} of the report"


def test_report_of_a_verification_is_explained() -> None:
    for name in VerifyReport.__dataclass_fields__:
        assert f"`{name}`" in section("The report"), f"README does not explain {name} of the report"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from ddbio.cli import main; main(['--help']); main(['export', '--help']); "
        "heavy = {'asyncio', 'aiohttp', 'aioboto3', 'botocore', 'msgspec', 'moto', 'rich.console', 'uvloop'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Move whole DynamoDB tables" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_examples(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ddbio", command, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ddbio {command} " in done.stdout.partition("Examples:")[2] or command == "demo"
