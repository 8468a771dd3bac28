"""Spans of time in Go's notation, as flags have them: `1h30m`, `300ms`."""

import re

_UNITS_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = r"(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:ns|us|µs|ms|s|m|h)"
_WHOLE = re.compile(rf"([+-]?)(0|(?:{_PART})+)", re.ASCII)
_PARTS = re.compile(r"([\d.]+)([a-zµ]+)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return a span in seconds. Raises ValueError with Go's words."""
    matching = _WHOLE.fullmatch(text)
    if matching is None:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS_SECONDS[unit] for number, unit in _PARTS.findall(text))
    return -seconds if matching[1] == "-" else seconds
