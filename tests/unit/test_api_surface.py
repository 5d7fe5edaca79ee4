"""The public interface: its names, its types, and that importing it does nothing."""

from __future__ import annotations

import dataclasses
import importlib.resources
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

import ddbio
import ddbio.errors

HEAVY = ("aioboto3", "aiobotocore", "boto3", "botocore", "typer", "click", "rich", "moto", "pyarrow", "aiohttp")

PROBE = """
import json, logging, signal, sys, threading, warnings
signals = [signal.getsignal(number) for number in signal.valid_signals()]
filters, hook = list(warnings.filters), sys.excepthook
{code}
print(json.dumps({{
    "modules": sorted(sys.modules),
    "signals": [signal.getsignal(number) for number in signal.valid_signals()] == signals,
    "handlers": len(logging.getLogger().handlers) + len(logging.getLogger("ddbio").handlers),
    "level": logging.getLogger("ddbio").level,
    "threads": threading.active_count(),
    "filters": warnings.filters == filters,
    "hook": sys.excepthook is hook,
}}))
"""


def probe(code: str) -> dict[str, Any]:
    """What the process is like after this code."""
    run = [sys.executable, "-c", PROBE.format(code=code)]
    found: dict[str, Any] = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import ddbio", HEAVY),
        ("from ddbio import ExportOptions, ImportOptions, Capacity", HEAVY),
        ("from ddbio import *", ("typer", "click", "rich", "moto", "pyarrow")),
        (
            "import ddbio.fleet.worker_process",
            ("aioboto3", "aiobotocore", "botocore", "typer", "click", "rich", "moto"),
        ),
    ],
)
def test_importing_has_no_side_effects(code: str, unwanted: tuple[str, ...]) -> None:
    found = probe(code)
    assert not set(unwanted) & {name.partition(".")[0] for name in found["modules"]}
    assert found | {"modules": []} == {
        "modules": [],
        "signals": True,
        "handlers": 0,
        "level": 0,
        "threads": 1,
        "filters": True,
        "hook": True,
    }


def test_every_public_name_is_there_and_no_other() -> None:
    assert ddbio.__all__ == sorted(ddbio.__all__)
    for name in ddbio.__all__:
        assert getattr(ddbio, name) is not None
    assert set(ddbio.__all__) <= set(dir(ddbio))
    missing = "no_such_name"
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ddbio, missing)


def test_every_public_class_and_function_is_documented() -> None:
    for name in ddbio.__all__:
        value = getattr(ddbio, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            assert value.__module__.startswith("ddbio.")


def test_options_are_frozen_and_keyword_only() -> None:
    for name in ddbio.__all__:
        value = getattr(ddbio, name)
        if name.endswith("Options") or name.endswith("Report") or name in ("Connection", "Capacity", "ScanFilter"):
            assert value.__dataclass_params__.frozen, name
            assert all(field.kw_only for field in dataclasses.fields(value)), name


def test_the_types_are_for_everybody() -> None:
    assert importlib.resources.files("ddbio").joinpath("py.typed").is_file()


def test_jobs_are_coroutines_and_observers_are_optional() -> None:
    for job in (ddbio.export_table, ddbio.import_table, ddbio.verify_export):
        assert inspect.iscoroutinefunction(job)
        parameters = list(inspect.signature(job).parameters.values())
        assert parameters[0].name == "options"
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[1:])
        assert all(parameter.default is not parameter.empty for parameter in parameters[1:])


def test_every_error_is_exported() -> None:
    errors = [name for name, value in vars(ddbio.errors).items() if inspect.isclass(value) and name.endswith("Error")]
    assert set(errors) <= set(ddbio.__all__)
    assert all(issubclass(getattr(ddbio, name), ddbio.DdbioError) for name in errors)
