"""Whether a budget is kept, and used: as the service counts it, against peers, on tables that are skewed or change.

    python -m benchmarks.capacity [--quick]

Most of it runs whole fleets in one event loop on virtual time, where every instant is exact and a minute takes a
second. `real.py` runs the command itself against the fault proxy in its capacity mode. Writes a table for each
section, and plots, into results/capacity/ (not with --quick). The comparison with peers needs aiolimiter.
"""
