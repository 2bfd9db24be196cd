"""A line chart of rates over time, as SVG, with a logarithmic axis for the rate."""

from html import escape
from math import ceil, floor, log10

from result import Table

WIDTH, HEIGHT = 860, 460
LEFT, TOP, RIGHT, BOTTOM = 80, 50, 30, 50   # margins of the plot area
LEGEND_LINE = 18
COLOURS = ["#c0392b", "#e67e22", "#2c3e50", "#7f8c8d", "#2980b9", "#8e44ad", "#16a085"]


def svg(table: Table) -> str:
    legend = 10 + LEGEND_LINE * len(table.series)
    points = [point for series in table.series for point in series.points]
    longest = max((seconds for seconds, _ in points), default=1)
    rates = [rate for _, rate in points if rate > 0] or [1, 10]
    lowest, highest = floor(log10(min(rates))), ceil(log10(max(rates)))

    def x(seconds: float) -> float:
        return LEFT + seconds / longest * (WIDTH - LEFT - RIGHT)

    def y(rate: float) -> float:
        share = (log10(max(rate, 10**lowest)) - lowest) / max(1, highest - lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 28, f"{table.title}: {table.unit} over time", size=16)]
    for power in range(lowest, highest + 1):
        parts.append(line(LEFT, y(10**power), WIDTH - RIGHT, y(10**power), "#ddd"))
        parts.append(text(LEFT - 8, y(10**power) + 4, f"{10**power:,}".replace(",", " "), anchor="end"))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if longest / step <= 12 or step == 100)
    for seconds in range(0, int(longest) + 1, step):
        parts.append(line(x(seconds), HEIGHT - BOTTOM, x(seconds), HEIGHT - BOTTOM + 5, "#333"))
        parts.append(text(x(seconds), HEIGHT - BOTTOM + 20, str(seconds), anchor="middle"))
    parts.append(line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#333"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "seconds since the first job, horizon pinned all along", anchor="middle"))
    for number, series in enumerate(table.series):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(seconds):.1f},{y(rate):.1f}" for seconds, rate in series.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = HEIGHT + 10 + LEGEND_LINE * number
        parts.append(line(LEFT, at, LEFT + 24, at, colour, width=3))
        parts.append(text(LEFT + 32, at + 4, series.name))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + legend}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
