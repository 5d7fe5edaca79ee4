"""The plot of the tools side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PANELS = {"export folder small jsonl: ": "pages per CPU second", "import file small jsonl: ": "items per CPU second"}


def write(results: Mapping[str, Any], path: Path) -> None:
    """Draw what each tool does per CPU second, small items over TLS."""
    import matplotlib as mpl  # noqa: PLC0415 - not needed for the figures themselves

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, panels = pyplot.subplots(1, 2, figsize=(12, 4))
    for axes, (prefix, unit) in zip(panels, PANELS.items(), strict=True):
        rows = [row for row in results["cpu"] if row["name"].startswith(prefix)]
        rows.sort(key=lambda row: row["per_cpu_second"])
        colours = ["tab:orange" if row["who"] == "ddbio" else "tab:gray" for row in rows]
        bars = axes.barh([row["who"] for row in rows], [row["per_cpu_second"] for row in rows], color=colours)
        axes.bar_label(bars, [f" {row['per_cpu_second']:,.0f}" for row in rows])
        axes.margins(x=0.2)
        axes.set_title(f"{prefix.partition(' ')[0]}, {unit}")
    figure.suptitle(f"small items, TLS; {results['runs'][-1]['machine']}, {results['runs'][-1]['date']}")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
