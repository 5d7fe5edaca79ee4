"""Lines over time, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN = 720, 260, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#7f7f7f")


def plot(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], unit: str) -> str:
    """One picture; each line is a list of (seconds, value)."""
    right = max(x for points in lines.values() for x, _ in points) or 1.0
    top = max(y for points in lines.values() for _, y in points) * 1.05 or 1.0

    def at(x: float, y: float) -> str:
        left = MARGIN + x / right * (WIDTH - 2 * MARGIN)
        return f"{left:.1f},{HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="16" font-size="13">{title}</text>',
        f'<path d="M{at(0, top)} L{at(0, 0)} L{at(right, 0)}" fill="none" stroke="black"/>',
        f'<text x="4" y="{MARGIN + 4}">{top:,.0f}</text><text x="4" y="{MARGIN + 18}">{unit}</text>',
        f'<text x="{WIDTH - MARGIN - 10}" y="{HEIGHT - MARGIN + 16}">{right:,.0f} s</text>',
    ]
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " L".join(at(x, y) for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{MARGIN + 150 * number}" y="{HEIGHT - 10}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
