"""`ddbio generate`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from ddbio.cli import common
from ddbio.cli.common import STREAM, number, one_of
from ddbio.cli.failures import Exit, fail, say
from ddbio.cli.figures import duration, size
from ddbio.generate import Shape, blocks, write_file
from ddbio.words import count as counted

EXAMPLES = """\
Examples:

\b
  Generate a million small items for a table with the string keys "hash" and "range":
    ddbio generate -c 1000000 -f test.json
\b
  Import them directly into a table:
    ddbio generate -c 50000 -f - | ddbio import -r eu-west-1 -t Test -s -
"""


def generate(
    count: Annotated[int, number("Number of items.", "--count", "-c", least=0)],
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Output file, compressed if it ends in .gz or .zst, or - for standard output.",
        ),
    ],
    shape: Annotated[
        Shape,
        typer.Option(
            **one_of("small", "large", "nested"),
            help="small: four strings, 173 bytes. large: 100 KB. nested: every type, 1 KB, as DynamoDB JSON.",
        ),
    ] = "small",
    seed: Annotated[
        int | None, number("Seed of the random generator: equal seeds give equal items. Default: random.", least=0)
    ] = None,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
) -> int:
    """Generate test items, one JSON object per line.

    They have the string keys "hash" and "range", and no two of them have the same key.
    """
    began = time.perf_counter()
    try:
        lines = blocks(count, shape=shape, seed=seed)
        if file == STREAM:
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
            return Exit.DONE
        written = write_file(lines, file)
    except KeyboardInterrupt:
        say("Interrupted." if file == STREAM else f"Interrupted. {file} is unchanged.")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost handler of the process
        return fail(error, verbose=verbose)
    if not quiet:
        say(f"{counted(count, 'item')} ({size(written)}) in {file}, {duration(time.perf_counter() - began)}.")
    return Exit.DONE
