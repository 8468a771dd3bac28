"""Figures with their unit and aim, as a table and as JSON."""

import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, to_builtins

ROOT = Path(__file__).parents[2]


class Figure(Struct, frozen=True):
    """One measured value; `aim` says what the design asks for, or what others were measured at."""

    name: str
    value: float
    unit: str
    aim: str = ""


def commit() -> str:
    """Return the commit the working tree is at, with a mark when it was changed."""
    line = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text."""
    rows = [
        (figure.name, f"{figure.value:,.{_decimals(figure.value)}f}", figure.unit, figure.aim)
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  {aim}".rstrip()
        for name, value, unit, aim in rows
    )


def write(figures: Sequence[Figure]) -> Path:
    """Write bench-COMMIT.json and return its path."""
    path = ROOT / f"bench-{commit()}.json"
    content = {
        "commit": commit(),
        "machine": platform.platform(),
        "figures": [to_builtins(figure) for figure in figures],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _decimals(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
