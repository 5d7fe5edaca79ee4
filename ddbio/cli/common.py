"""The options that several commands share, and how their values are read. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ddbio.errors import UsageError
from ddbio.options import MAX_BURST, Capacity, Connection

STREAM = "-"
"""Standard input or output."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What a command tells beside its work."""

    report: bool = False
    quiet: bool = False
    verbose: bool = False


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole(least: int, most: int | None = None) -> Callable[[Any], int]:
    """A reader of whole numbers from `least` to `most`."""
    possible = f"a whole number from {least:,} to {most:,}" if most else f"a whole number of at least {least:,}"

    def read(text: Any) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise typer.BadParameter(f"{text!r} is not {possible}.")
        return value

    return read


def one_of(*names: str) -> Any:
    """An option whose value is one of these names, for `typer.Option(**one_of(…))`."""

    def read(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not possible: choose {', '.join(names[:-1])} or {names[-1]}.")
        return text

    return {"parser": read, "metavar": "|".join(names)}


def name(text: str) -> str:
    """Read an option's value that has no blank at either end: what is named so can't have one."""
    if text != text.strip():
        raise typer.BadParameter(f"{text!r} begins or ends with white space.")
    return text


def own_path(text: str) -> str:
    """Read an option's value as the path of a file or folder, where a standard stream can't be meant."""
    if text == STREAM:
        raise typer.BadParameter("a standard stream is not possible: name a place (./- where it is called so).")
    return text


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600}


def capacity(text: str) -> Capacity:
    """Read an option's value as a capacity."""
    try:
        return Capacity.parse(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def fixed_capacity(text: str) -> Capacity:
    """The same, where nothing adapts."""
    found = capacity(text)
    if found.auto:
        raise typer.BadParameter(
            f"{text!r} is not possible here: write units a second, like 1000, or a share, like 50%."
        )
    return found


def seconds(text: str | float) -> float:
    """Read an option's value as a length of time: `900`, `15m`, `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(text))
    if match is None or float(match[1]) * _UNITS[match[2]] < 1:
        raise typer.BadParameter(f"{text!r} is not a time of at least a second: write seconds, or like 15m or 2h.")
    return float(match[1]) * _UNITS[match[2]]


def burst(text: str | float) -> float:
    """Read an option's value as a number of seconds, from 0 to what the service itself keeps."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_BURST:
        raise typer.BadParameter(f"{text!r} is not a number of seconds from 0 to {MAX_BURST}.")
    return value


def json_object(text: str) -> dict[str, Any]:
    """Read an option's value as a JSON object."""
    try:
        value = json.loads(text, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is not a JSON object.")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name comes twice in an object")
    return members


Table = Annotated[str, typer.Option("--table", "-t", parser=name, metavar="TABLE", help="Name or ARN of the table.")]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        "-r",
        parser=name,
        metavar="REGION",
        help="AWS region. Default: AWS_REGION, AWS_DEFAULT_REGION, then the profile's.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        parser=name, metavar="NAME", help="Profile of the AWS configuration. Default: AWS_PROFILE, then 'default'."
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        parser=name,
        metavar="URL",
        help="Send DynamoDB and S3 requests here instead, for emulators and VPC endpoints.",
    ),
]
DynamodbEndpointUrl = Annotated[
    str | None, typer.Option(parser=name, metavar="URL", help="The same for DynamoDB only; wins over --endpoint-url.")
]
S3EndpointUrl = Annotated[
    str | None, typer.Option(parser=name, metavar="URL", help="The same for S3; wins over --endpoint-url.")
]
CapacityLimit = Annotated[
    Capacity | None,
    typer.Option(
        "--capacity",
        "-c",
        parser=capacity,
        metavar="N|P%|auto",
        show_default=False,
        help="Most capacity units a second for the whole job, over all processes: a number like 1000, a share of the "
        "table's provisioned or warm throughput like 50%, or auto (or like auto:1000, for at most that): begins with "
        "50%, and adapts to what the table bears. Default: auto.",
    ),
]
HalfCapacity = Annotated[
    Capacity | None,
    typer.Option(
        "--capacity",
        "-c",
        parser=capacity,
        metavar="N|P%|auto",
        show_default=False,
        help="Most read capacity units a second for all processes: a number like 1000, a share of the table's "
        "provisioned or warm throughput like 50%, or auto (or like auto:1000), which adapts to what the table bears. "
        "Default: 50%.",
    ),
]
Burst = Annotated[
    float,
    typer.Option(
        parser=burst,
        metavar="SECONDS",
        help="So many seconds' worth of capacity that was left unspent may be spent at once, beside the budget.",
    ),
]
MaxUnits = Annotated[
    int | None,
    typer.Option(
        parser=whole(1),
        metavar="N",
        show_default=False,
        help="End, resumably and with exit code 4, once this run has consumed N capacity units.",
    ),
]
MaxDuration = Annotated[
    float | None,
    typer.Option(
        parser=seconds,
        metavar="TIME",
        show_default=False,
        help="The same after so long: seconds, or like 15m or 2h.",
    ),
]
RetryTimeout = Annotated[
    float,
    typer.Option(
        parser=seconds,
        metavar="TIME",
        show_default=False,
        help="So long nothing may succeed before the job stops, resumably: seconds, or like 15m or 2h. Default: 15m.",
    ),
]
ConsistentRead = Annotated[
    bool, typer.Option("--consistent-read", help="Strongly consistent reads, at twice the read units.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the final report on standard output, as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Tell nothing but warnings and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log details, and show the traceback of an error.")]


def connection(
    region: str | None, profile: str | None, endpoint: str | None, dynamodb: str | None, s3: str | None
) -> Connection:
    """The connection that the five connecting options stand for."""
    return Connection(
        region=region,
        profile=profile,
        endpoint_url=endpoint,
        dynamodb_endpoint_url=dynamodb,
        s3_endpoint_url=s3,
    )
