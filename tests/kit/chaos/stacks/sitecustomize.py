"""For a ddbio that hangs: at SIGUSR1 it tells on standard error where its threads and its tasks are."""

import asyncio
import faulthandler
import signal
import sys


def _tell(*_: object) -> None:
    faulthandler.dump_traceback(all_threads=True)
    loop = asyncio.events._get_running_loop()
    for task in asyncio.all_tasks(loop) if loop else ():
        task.print_stack(file=sys.stderr)


if hasattr(signal, "SIGUSR1"):
    signal.signal(signal.SIGUSR1, _tell)
