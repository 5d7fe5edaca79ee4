"""Chaos: whole jobs through the fault proxy, killed again and again, until they are done; then everything is counted.

    python -m tests.kit.chaos export --runs 200 --seed 1
    python -m tests.kit.chaos import --runs 200 --seed 1 --parallel 2

Run number i has the seed `--seed` + i, which settles all that is random but the timing: the table, the formats, the
faults, and when what is killed. A run that fails prints the command that repeats it, and keeps its folder.
`tests/chaos/README.md` says what is checked; `RESULTS.md` beside it records the last long run.
"""
