"""Metrics of the whole process, in Prometheus' text form.

A metric is made once, at import, in the `REGISTRY`; its labelled children are bound once by who uses them, so that
counting costs one addition. Why it is a module of its own is told in docs/decisions/0013-metrics-of-our-own.md.
"""

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import isfinite, isnan

LATENCY_BUCKETS_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
CHILDREN_LIMIT = (
    10_000  # label values beyond that are a bug (an unbounded label) and share one child
)


class Value:
    """One number that a counter or gauge shows for one set of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def increase(self, by: float = 1.0) -> None:
        """Add."""
        self.value += by

    def decrease(self, by: float = 1.0) -> None:
        """Subtract; for gauges only."""
        self.value -= by

    def set(self, value: float) -> None:
        """Replace; for gauges only."""
        self.value = value


class Distribution:
    """What a histogram shows for one set of label values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


class Metric:
    """A name, its help, and its children by label values."""

    kind = "untyped"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.help_text = help_text
        self.labels = labels

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text form, without the heading."""
        raise NotImplementedError


class Counter(Metric):
    """A number that only grows."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, help_text, labels)
        self._children: dict[tuple[str, ...], Value] = {}
        if not labels:
            self._children[()] = Value()

    def labelled(self, *values: str) -> Value:
        """Return the child for these label values; keep it if it is used often."""
        assert len(values) == len(self.labels), f"{self.name} has labels {self.labels}"
        if (child := self._children.get(values)) is None:
            if len(self._children) >= CHILDREN_LIMIT:
                values = ("other",) * len(values)
            child = self._children.setdefault(values, Value())
        return child

    def increase(self, by: float = 1.0) -> None:
        """Count on a metric without labels."""
        self._children[()].value += by

    def lines(self) -> Iterator[str]:
        """Yield one line a child."""
        for values, child in sorted(self._children.items()):
            yield f"{self.name}{_labels(self.labels, values)} {_number(child.value)}"


class Gauge(Counter):
    """A number that goes up and down; `read` may compute it when it is asked for."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, help_text, labels)
        self._read: dict[tuple[str, ...], tuple[Value, Callable[[], float]]] = {}

    def set(self, value: float) -> None:
        """Replace the number of a metric without labels."""
        self._children[()].value = value

    def computed(self, read: Callable[[], float], *values: str) -> None:
        """Have the number for these label values computed by `read` at exposition; an OSError makes it NaN."""
        self._read[values] = (self.labelled(*values), read)

    def lines(self) -> Iterator[str]:
        """Yield one line a child."""
        for child, read in self._read.values():
            try:
                child.value = read()
            except OSError:
                child.value = math.nan
        yield from super().lines()


class Histogram(Metric):
    """Counts of values in ranges."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...] = (),
        bounds: Sequence[float] = LATENCY_BUCKETS_SECONDS,
    ) -> None:
        super().__init__(name, help_text, labels)
        self.bounds = tuple(bounds)
        self._children: dict[tuple[str, ...], Distribution] = {}
        if not labels:
            self._children[()] = Distribution(self.bounds)

    def labelled(self, *values: str) -> Distribution:
        """Return the child for these label values; keep it if it is used often."""
        assert len(values) == len(self.labels), f"{self.name} has labels {self.labels}"
        if (child := self._children.get(values)) is None:
            if len(self._children) >= CHILDREN_LIMIT:
                values = ("other",) * len(values)
            child = self._children.setdefault(values, Distribution(self.bounds))
        return child

    def observe(self, value: float) -> None:
        """Count one value on a metric without labels."""
        self._children[()].observe(value)

    def lines(self) -> Iterator[str]:
        """Yield cumulative buckets, sum and count of each child."""
        names = (*self.labels, "le")
        for values, child in sorted(self._children.items()):
            running = 0
            for bound, count in zip(
                (*map(_number, self.bounds), "+Inf"), child.counts, strict=True
            ):
                running += count
                yield f"{self.name}_bucket{_labels(names, (*values, bound))} {running}"
            labels = _labels(self.labels, values)
            yield f"{self.name}_sum{labels} {_number(child.total)}"
            yield f"{self.name}_count{labels} {running}"


class Registry:
    """All metrics of the process."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, metric: Metric) -> None:
        """Expose a metric; its name must be new."""
        assert metric.name not in self._metrics, f"{metric.name} exists"
        self._metrics[metric.name] = metric

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """Make a counter; its name should end in ``_total``."""
        metric = Counter(name, help_text, labels)
        self.add(metric)
        return metric

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Make a gauge."""
        metric = Gauge(name, help_text, labels)
        self.add(metric)
        return metric

    def histogram(
        self,
        name: str,
        help_text: str,
        labels: tuple[str, ...] = (),
        bounds: Sequence[float] = LATENCY_BUCKETS_SECONDS,
    ) -> Histogram:
        """Make a histogram."""
        metric = Histogram(name, help_text, labels, bounds)
        self.add(metric)
        return metric

    def exposition(self) -> str:
        """Return all metrics in the text form, version 0.0.4."""
        lines: list[str] = []
        for name in sorted(self._metrics):
            metric = self._metrics[name]
            lines.append(f"# HELP {name} {_escape(metric.help_text)}")
            lines.append(f"# TYPE {name} {metric.kind}")
            lines.extend(metric.lines())
        return "\n".join(lines) + "\n"


class LoopLag:
    """How long ready work waits for the loop.

    Whoever starts a piece of work calls `sample`; the time until a callback queued then runs is one observation. One
    sample is under way at a time, and an idle process measures nothing, so measuring wakes nobody.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._asked: float | None = None

    def sample(self) -> None:
        """Measure once, unless a measurement is under way."""
        if self._asked is None:
            loop = asyncio.get_running_loop()
            self._asked = loop.time()
            loop.call_soon(self._ran, loop)

    def _ran(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._asked is not None:
            self._histogram.observe(loop.time() - self._asked)
            self._asked = None


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escape_value(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', '\\"')


def _number(value: float) -> str:
    if not isfinite(value):
        return "NaN" if isnan(value) else ("+Inf" if value > 0 else "-Inf")
    return str(int(value)) if value == int(value) else repr(value)


REGISTRY = Registry()
LOOP_LAG = LoopLag(
    REGISTRY.histogram("loop_lag_seconds", "How long ready work waited for the event loop.")
)
