"""What is common to the plans of exports and imports: blows and faults, drawn from a seed."""

from __future__ import annotations

from random import Random

from tests.kit.chaos.processes import Attempts, Blow, ChaosError, Ended, Victim
from tests.kit.faults.account import FaultAccount, Served
from tests.kit.faults.schedule import KINDS, NEEDS_OTHER_KEYS

MORE_ATTEMPTS = 12
"""The attempts that a job has to finish after the last blow; faults of S3 may stop it now and then."""
COMMIT_SECONDS = 3.5
"""What one commit interval is: a second of work, half a second to the next Report, a second in which the desk gathers
commits and half a one more to the Report that ends it, and the journal's own time."""
RUN_SECONDS = 2.5
"""About how long the requests of an undisturbed run take."""
LONGEST_PAUSE = 1.5
FATAL: tuple[Victim, ...] = ("parent", "everybody", "interrupt")


def draw_rates(rng: Random, most: float) -> dict[str, float]:
    """A rate for each kind of fault that passes by itself; about a third of the kinds stay away."""
    kinds = sorted(KINDS.keys() - NEEDS_OTHER_KEYS)
    top = rng.choice((most / 10, most / 3, most))
    return {kind: rng.uniform(0, top) if rng.random() < 2 / 3 else 0.0 for kind in kinds}


def draw_blows(rng: Random, requests: int) -> tuple[tuple[Blow, ...], ...]:
    """The blows of the first few attempts at a job of this number of requests."""
    return tuple(_attempt(rng, requests) for _ in range(rng.randint(2, 4)))


def _attempt(rng: Random, requests: int) -> tuple[Blow, ...]:
    # Three deaths on one split fail a job, by design.
    blows = [_blow(rng, "worker", requests // 3) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
    if not blows or rng.random() < 0.85:
        blows.append(_blow(rng, rng.choice(FATAL), requests // 2))
    return tuple(blows)


def _blow(rng: Random, victim: Victim, most: int) -> Blow:
    # Now and then without a request to wait for: while the job starts, recovers, or ends. Not for Ctrl-C, which is
    # Python's own before the command line has taken it over.
    if victim != "interrupt" and rng.random() < 0.2:
        return Blow(victim, 0, rng.uniform(0.2, 4.0))
    return Blow(victim, rng.randint(1, max(1, most)), rng.choice((0.0, rng.uniform(0, 0.3))))


INTERPRETER_STRUCK = "Fatal Python error: init_import_site"
"""Ctrl-C came while Python itself was starting: nothing of ddbio ran yet."""


def pause(requests: int, lanes: int) -> float:
    """The pause before each reply that makes a run last about `RUN_SECONDS`."""
    return min(RUN_SECONDS * lanes / max(requests, 1), LONGEST_PAUSE)


async def until_done(attempts: Attempts, planned: tuple[tuple[Blow, ...], ...], done: int, *, may_stop: bool) -> None:
    """Attempt until the exit code is `done`. Raises ChaosError where an attempt ends otherwise than it may.

    `may_stop`: a job may end with an error that says so and can be resumed.
    """
    for blows in (*planned, *((),) * MORE_ATTEMPTS):
        ended = await attempts.run(blows)
        if INTERPRETER_STRUCK in ended.err:
            continue
        if "Traceback" in ended.err or "defect" in ended.err:
            raise ChaosError(f"a traceback:\n{ended.err}")
        if ended.code == done:
            return
        if ended.code not in _allowed(ended, may_stop):
            raise ChaosError(f"exit code {ended.code} after {ended.landed or 'no blow'}:\n{ended.err}")
    raise ChaosError(f"not done after {len(attempts.ended)} attempts:\n{attempts.ended[-1].err}")


def _allowed(ended: Ended, may_stop: bool) -> set[int]:
    codes = {"parent": -9, "everybody": -9, "interrupt": 130}
    return {codes[victim] for victim in ended.landed if victim in codes} | ({1} if may_stop else set())


def judge(account: FaultAccount, undisturbed: Served, disturbances: int, per_commit: Served | None = None) -> None:
    """Raises ChaosError where more was served than the disturbances explain."""
    busiest = account.busiest(COMMIT_SECONDS)
    most = busiest if per_commit is None else Served(*map(max, busiest, per_commit))
    violations = account.judge(undisturbed, disturbances, most)
    violations += [
        f"a put was acknowledged {times} times, at most {1 + disturbances} allowed after {disturbances} disturbances"
        for times in set(account.puts.values())
        if times > 1 + disturbances
    ]
    if violations:
        raise ChaosError(f"too much was served: {'; '.join(violations)}")
