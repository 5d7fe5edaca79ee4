"""The options that several commands share, and the parsers of their values. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ddbio.errors import UsageError
from ddbio.options import MAX_BURST, Capacity, Connection

STREAM = "-"
"""Standard input or output."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What a command prints besides its result."""

    report: bool = False
    quiet: bool = False
    verbose: bool = False


def cores() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def number(meaning: str, *flags: str, least: int = 1, most: int | None = None, metavar: str = "N") -> Any:
    """Declare an option that takes a whole number from `least` to `most`."""
    possible = f"a whole number from {least:,} to {most:,}" if most else f"a whole number of at least {least:,}"

    def read(text: Any) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise typer.BadParameter(f"{text!r} is not {possible}.")
        return value

    return typer.Option(*flags, parser=read, metavar=metavar, help=meaning)


def one_of(*names: str) -> Any:
    """Settings of an option that takes one of these names, for `typer.Option(**one_of(…))`."""

    def read(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not valid: choose {', '.join(names[:-1])} or {names[-1]}.")
        return text

    return {"parser": read, "metavar": "|".join(names)}


def named(metavar: str, meaning: str, *flags: str) -> Any:
    """Declare an option that takes a name; names in AWS never begin or end with whitespace."""

    def read(text: str) -> str:
        if text != text.strip():
            raise typer.BadParameter(f"{text!r} begins or ends with whitespace.")
        return text

    return typer.Option(*flags, parser=read, metavar=metavar, help=meaning)


def own_path(text: str) -> str:
    """Parse the path of a file or folder where standard input or output makes no sense."""
    if text == STREAM:
        raise typer.BadParameter("standard input and output can't be used here: give a path (./- for a file named -).")
    return text


_SECONDS_PER = {"": 1, "s": 1, "m": 60, "h": 3_600}


def capacity(text: str) -> Capacity:
    try:
        return Capacity.parse(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def fixed_capacity(text: str) -> Capacity:
    """Parse a capacity other than `auto`."""
    found = capacity(text)
    if found.auto:
        raise typer.BadParameter(
            f"{text!r} can't be used here: give units per second, such as 1000, or a percentage, such as 50%."
        )
    return found


def seconds(text: str | float) -> float:
    """Parse a duration: `900`, `15m`, `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(text))
    if match is None or float(match[1]) * _SECONDS_PER[match[2]] < 1:
        raise typer.BadParameter(f"{text!r} is not a duration of at least 1 second, such as 900, 15m or 2h.")
    return float(match[1]) * _SECONDS_PER[match[2]]


def burst(text: str | float) -> float:
    """Parse a number of seconds from 0 to the burst that DynamoDB itself allows."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_BURST:
        raise typer.BadParameter(f"{text!r} is not a number of seconds from 0 to {MAX_BURST}.")
    return value


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{text!r} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is not a JSON object.")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


Table = Annotated[str, named("TABLE", "Name or ARN of the table.", "--table", "-t")]
Processes = Annotated[
    int | None,
    number(
        "Maximum number of worker processes; a small budget or a small job uses fewer. Default: one per CPU core, or 1 "
        "with standard input or output.",
        "--processes",
        "-p",
    ),
]
Region = Annotated[
    str | None,
    named(
        "REGION", "AWS region. Default: AWS_REGION, AWS_DEFAULT_REGION, then the profile's region.", "--region", "-r"
    ),
]
Profile = Annotated[
    str | None, named("NAME", "Profile in the AWS configuration. Default: AWS_PROFILE, then 'default'.")
]
EndpointUrl = Annotated[str | None, named("URL", "Endpoint for DynamoDB and S3, for emulators and VPC endpoints.")]
DynamodbEndpointUrl = Annotated[str | None, named("URL", "Endpoint for DynamoDB; overrides --endpoint-url.")]
S3EndpointUrl = Annotated[str | None, named("URL", "Endpoint for S3; overrides --endpoint-url.")]


def _capacity_option(units: str, default: str) -> Any:
    return typer.Option(
        "--capacity",
        "-c",
        parser=capacity,
        metavar="N|P%|auto",
        help=f"Maximum {units} units per second for the whole job, across all processes: a number such as 1000; a "
        "percentage of the table's provisioned or warm throughput such as 50%; or auto, which starts at 50% and adapts "
        f"to what the table can serve (auto:1000 never exceeds 1000). Default: {default}.",
    )


CapacityLimit = Annotated[Capacity | None, _capacity_option("capacity", "auto")]
ReadCapacity = Annotated[Capacity | None, _capacity_option("read capacity", "50%")]
Burst = Annotated[
    float,
    typer.Option(
        parser=burst,
        metavar="SECONDS",
        help="Up to this many seconds' worth (0 to 300) of unused capacity may be spent at once, on top of the budget.",
    ),
]
MaxUnits = Annotated[
    int | None, number("Stop with exit code 4 once this run has consumed N capacity units; the job can be resumed.")
]
MaxDuration = Annotated[
    float | None,
    typer.Option(
        parser=seconds,
        metavar="TIME",
        help="Stop with exit code 4 after this time, in seconds, or with a unit (15m, 2h); the job can be resumed.",
    ),
]
RetryTimeout = Annotated[
    float,
    typer.Option(
        parser=seconds,
        metavar="TIME",
        show_default=False,
        help="Stop when no request has succeeded for this time, in seconds, or with a unit (15m, 2h); an export or "
        "import can be resumed. Default: 15m.",
    ),
]
ConsistentRead = Annotated[
    bool, typer.Option("--consistent-read", help="Use strongly consistent reads, which cost twice the read units.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the final report to standard output as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log details, and print the traceback of an error.")]


def connection(
    region: str | None, profile: str | None, endpoint: str | None, dynamodb: str | None, s3: str | None
) -> Connection:
    """Build the connection that the options describe."""
    return Connection(
        region=region, profile=profile, endpoint_url=endpoint, dynamodb_endpoint_url=dynamodb, s3_endpoint_url=s3
    )
