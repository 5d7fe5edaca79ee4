"""What README, docs/ and the help texts say, checked against the program."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
import pytest
import typer
from botocore import xform_name

import ddbio
from ddbio.cli import app
from ddbio.cli.failures import Exit
from ddbio.jobs.control_file import Changes
from ddbio.ledger.entries import Reject
from ddbio.model import Reason
from ddbio.report import Difference, JobReport, Moment, Spending, VerifyReport

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
LINKED = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def section(text: str, title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    return f"{text}\n## ".split(f"\n## {title}\n")[1].split("\n## ")[0]


def options(command: str) -> list[Any]:
    return [each for each in COMMANDS[command].params if each.name != "help"]


def fenced(language: str, *texts: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", "\n".join(texts or (README, *DOCS.values())), re.DOTALL | re.M)


def example_lines() -> list[str]:
    """Every command line of ddbio in the documents and help texts, without what it is piped to or from."""
    joined = "\n".join([*fenced("sh"), *(command.epilog for command in COMMANDS.values())]).replace("\\\n", " ")
    pipes = [part.strip() for line in joined.splitlines() for part in line.split(" | ")]
    return [part for part in pipes if part.startswith("ddbio ")]


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_options_page_is_current() -> None:
    script = ROOT / "docs" / "generate_options.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == DOCS["options.md"], "Run: python docs/generate_options.py > docs/options.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    table = section(DOCS["options.md"], command)
    for option in options(command):
        assert option.help, f"{command} {option.opts} has no help"
        for name in option.opts:
            assert f"`{name}" in table, f"options.md does not explain {command} {name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_is_explained_that_does_not_exist(command: str) -> None:
    known = {name for option in options(command) for name in option.opts}
    first_cells = re.findall(r"^\| (`-.*?`) \|", section(DOCS["options.md"], command), re.MULTILINE)
    assert {name for cell in first_cells for name in re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", cell)} == known


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_are_given(command: str) -> None:
    table = section(DOCS["options.md"], command)
    for option in options(command):
        if isinstance(option.default, str | int) and not isinstance(option.default, bool):
            row = next(line for line in table.splitlines() if f"`{option.opts[0]}" in line)
            assert row.replace("`", "").endswith(f"| {option.default} |")


def test_options_in_prose_exist() -> None:
    known = {name for command in COMMANDS for option in options(command) for name in option.opts}
    known |= {"--version", "--help"}
    for name, text in {"README.md": README, **DOCS}.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for option in re.findall(r"`(?:ddbio )?(--?[a-z][a-z0-9-]*)", prose):
            assert option in known, f"{name} mentions {option}"


def test_every_command_has_the_short_flags_of_the_contract() -> None:
    short = {name: {flag for option in options(name) for flag in option.opts if len(flag) == 2} for name in COMMANDS}
    assert short == {
        "export": {"-r", "-t", "-p", "-c", "-s", "-d"},
        "import": {"-r", "-t", "-p", "-c", "-s"},
        "verify": {"-r", "-t", "-p", "-c", "-s"},
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


def test_marked_commands_are_one_line_and_use_known_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for mark, end in (("demo", ".venv/bin/ddbio demo"), ("test", ".venv/bin/pytest -q -n 4")):
        line = README.split(f"<!-- {mark}-command -->\n```sh\n")[1].split("\n```")[0]
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert line.endswith(f" && {end}")
        assert f"'.[{mark}]'" in line
        assert mark in extras


def test_every_code_block_has_a_language_that_is_tested() -> None:
    text = "\n".join((README, *DOCS.values()))
    fences = re.findall(r"^ *```(.*)$", text, re.MULTILINE)
    assert set(fences[::2]) <= {"sh", "python", "json", "text"}  # text: the diagram of the layers
    assert set(fences[1::2]) == {""}


def test_library_examples_name_what_exists() -> None:
    used: set[str] = set()
    for example in fenced("python"):
        tree = ast.parse(example)
        imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        used |= {alias.name for node in imported for alias in node.names}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id.endswith(("Options", "Connection", "Capacity")):
                fields = getattr(ddbio, call.func.id).__dataclass_fields__
                assert {keyword.arg for keyword in call.keywords} <= set(fields)
    assert {"export_table", "import_table", "verify_export", "scan", "BatchWriter", "Control"} <= used
    assert used <= set(ddbio.__all__)


def test_every_public_name_is_documented() -> None:
    missing = [name for name in ddbio.__all__ if not re.search(rf"\b{name}\b", DOCS["library.md"])]
    assert not missing


def test_every_json_block_is_json() -> None:
    for block in fenced("json"):
        json.loads(block)


def test_examples_of_files_have_the_members_of_the_code() -> None:
    (difference,) = fenced("json", DOCS["verify.md"])
    assert list(json.loads(difference)) == ["ddbio_difference", *Difference.__dataclass_fields__]
    (control,) = fenced("json", DOCS["capacity.md"])
    assert list(json.loads(control)) == list(Changes.__struct_fields__)
    msgspec.json.decode(control, type=Changes)


def test_every_reason_of_a_reject_is_listed() -> None:
    text = section(DOCS["import.md"], "Rejects").partition("Reasons:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9_]+)`", text)) == set(Reason)


def test_every_member_of_a_reject_is_explained() -> None:
    for name in Reject.__struct_fields__:
        assert f"`{name}`" in section(DOCS["import.md"], "Rejects")


def test_every_exit_code_is_explained() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section(README, "Exit codes"), re.MULTILINE)}
    assert codes == set(Exit)


def test_report_keeps_the_fields_that_scripts_read() -> None:
    contract = """command table items bytes files rejected rejects capacity_units requests throttles retries seconds
        cpu_seconds peak_rss_bytes resumed manifest reject_reasons throttle_reasons timeline"""
    members = [name for name in contract.split() if name not in Spending.__dataclass_fields__]
    assert members == [name for name in JobReport.__dataclass_fields__ if name != "used"]
    text = section(DOCS["report.md"], "Export and import")
    for name in (*contract.split(), *Spending.__dataclass_fields__, *Moment.__dataclass_fields__):
        assert f"`{name}`" in text, f"report.md does not explain {name}"


def test_report_of_a_verification_is_explained() -> None:
    for name in {*VerifyReport.__dataclass_fields__, *Spending.__dataclass_fields__} - {"used"}:
        assert f"`{name}`" in section(DOCS["report.md"], "Verify"), f"report.md does not explain {name}"


def test_figures_of_readme_are_those_of_the_benchmarks() -> None:
    results = ROOT / "benchmarks" / "results"
    table, matrix = (results / "table.md").read_text(), (results / "capacity" / "matrix.md").read_text()
    for told, measured in (
        ("281 pages", "| 281 pages per CPU second |"),
        ("62 times", "| 62.5 × |"),
        ("110,000 items", "| 109,877 items per CPU second |"),
        ("12 times", "| 11.6 × |"),
    ):
        assert told in README
        assert measured in table
    for figure in ("102.0%", "97.6%"):
        assert figure in README
        assert figure in matrix


def links() -> Iterator[tuple[Path, str]]:
    for page in LINKED:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        yield from ((page, target) for target in re.findall(r"\]\(([^)\s]+)\)", text))


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for page, target in links():
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{page.name} links to {target}"


def test_files_that_design_names_exist() -> None:
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", DOCS["design.md"]):
        assert (ROOT / "ddbio" / name).exists() or (ROOT / name).exists(), name


def test_diagram_has_the_layers_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (diagram,) = fenced("text", DOCS["design.md"])
    shown = [re.findall(r"\b(\w+)/", line) for line in diagram.splitlines()]
    layers = [re.findall(r"ddbio\.(\w+)", layer) for layer in contracts[0]["layers"]]
    packages = [{name for name in layer if (ROOT / "ddbio" / name).is_dir()} for layer in layers]
    assert [set(names) for names in shown if names] == [names for names in packages if names]


ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "DeleteObjects": "DeleteObject",
}
"""Operations of S3 that need the permission of another name (S3 User Guide, "Required permissions")."""


def called(service: str, *folders: str) -> set[str]:
    """The operations of a service that are called anywhere in these packages."""
    source = "\n".join(file.read_text() for folder in folders for file in (ROOT / "ddbio" / folder).rglob("*.py"))
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {name for name in names if re.search(rf'\.{xform_name(name)}\(|"({xform_name(name)}|{name})"', source)}


def allowed(title: str) -> list[set[str]]:
    """The actions of each policy under a heading of permissions.md."""
    policies = [json.loads(block) for block in fenced("json", section(DOCS["permissions.md"], title))]
    return [{action for each in policy["Statement"] for action in each["Action"]} for policy in policies]


def test_policies_allow_what_the_code_calls_and_no_more() -> None:
    dynamodb = {f"dynamodb:{name}" for name in called("dynamodb", "aws", "wire")}
    s3 = {f"s3:{ACTIONS.get(name, name)}" for name in called("s3", "aws", "storage/s3")}
    reading, describe = {"s3:ListBucket", "s3:GetObject"}, "dynamodb:DescribeTable"
    assert dynamodb == {describe, "dynamodb:Scan", "dynamodb:BatchWriteItem"}
    assert allowed("Export") == [{describe, "dynamodb:Scan"} | s3]
    assert allowed("Import") == [{describe, "dynamodb:BatchWriteItem"} | reading]
    assert allowed("Verify") == [{describe, "dynamodb:Scan"} | reading, dynamodb | reading]


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
