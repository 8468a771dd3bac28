"""Metrics of the whole process, in Prometheus' text format.

A metric is created once, at import, in the `REGISTRY`. Its users bind labelled children once, so that counting costs
one addition. The reasons for a module of our own are in docs/decisions/0013-metrics-of-our-own.md.
"""

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
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
CHILDREN_LIMIT = 10_000  # more label values are a bug (an unbounded label) and share one child


class Value:
    """The value of a counter or gauge for one set of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def increase(self, by: float = 1.0) -> None:
        """Add `by`, which must not be negative for a counter."""
        self.value += by

    def decrease(self, by: float = 1.0) -> None:
        """Subtract `by`; for gauges only."""
        self.value -= by

    def set(self, value: float) -> None:
        """Set the value; for gauges only."""
        self.value = value


class Distribution:
    """The buckets and sum of a histogram for one set of label values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observed value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """Return how many values were observed."""
        return sum(self.counts)


Row = tuple[tuple[str, ...], float]  # label values and the number
Bins = tuple[
    tuple[str, ...], list[int], float
]  # label values, counts by bucket, and the sum of the observed values


class Metric:
    """A name, its help, and its children by label values."""

    kind = "untyped"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.help_text = help_text
        self.labels = labels

    def sample(self) -> "Sample":
        """Return a copy of the current values. Call it on the loop, where they change."""
        raise NotImplementedError


class Sample:
    """The values of a metric at one time, which may be formatted in another thread."""

    def __init__(self, metric: Metric, rows: Sequence[Row] = (), bins: Sequence[Bins] = ()) -> None:
        self._metric = metric
        self._rows = rows
        self._bins = bins

    @property
    def count(self) -> int:
        """Return the number of lines, at most."""
        return 2 + len(self._rows) + sum(2 + len(counts) for _, counts, _ in self._bins)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text format, HELP and TYPE included."""
        metric = self._metric
        name, labels = metric.name, metric.labels
        yield f"# HELP {name} {_escape(metric.help_text)}"
        yield f"# TYPE {name} {metric.kind}"
        for values, number in sorted(self._rows):
            yield f"{name}{labels_text(labels, values)} {_number(number)}"
        if self._bins:
            yield from self._buckets()

    def _buckets(self) -> Iterator[str]:
        metric = self._metric
        assert isinstance(metric, Histogram)
        name, bounds = metric.name, (*map(_number, metric.bounds), "+Inf")
        for values, counts, total in sorted(self._bins):
            shown = labels_text(metric.labels, values)
            opened = f"{{{shown[1:-1]}," if shown else "{"
            running = 0
            for bound, count in zip(bounds, counts, strict=True):
                running += count
                yield f'{name}_bucket{opened}le="{bound}"}} {running}'
            yield f"{name}_sum{shown} {_number(total)}"
            yield f"{name}_count{shown} {running}"


class Counter(Metric):
    """A number that only grows; children set by `computed` are read at exposition."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, help_text, labels)
        self._children: dict[tuple[str, ...], Value] = {}
        self._read: dict[tuple[str, ...], tuple[Value, Callable[[], float]]] = {}
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
        """Add to a metric without labels."""
        self._children[()].value += by

    def computed(self, read: Callable[[], float], *values: str) -> None:
        """Compute the number for these label values with `read` at exposition; an OSError makes it NaN."""
        self._read[values] = (self.labelled(*values), read)

    def sample(self) -> Sample:
        """Return a row for each child."""
        for child, read in self._read.values():
            try:
                child.value = read()
            except OSError:
                child.value = math.nan
        return Sample(self, [(values, child.value) for values, child in self._children.items()])


class Gauge(Counter):
    """A number that goes up and down."""

    kind = "gauge"

    def set(self, value: float) -> None:
        """Set the value of a metric without labels."""
        self._children[()].value = value


class Listing(Metric):
    """A gauge with changing children: `read`, once it is set, returns all rows at exposition."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, help_text, labels)
        self.read: Callable[[], Iterable[Row]] | None = None

    def sample(self) -> Sample:
        """Return the current rows; none while `read` is None."""
        return Sample(self, list(self.read()) if self.read is not None else [])


class Histogram(Metric):
    """Counts of observed values by bucket."""

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
        """Observe a value of a metric without labels."""
        self._children[()].observe(value)

    def sample(self) -> Sample:
        """Return the counts and the sum of each child."""
        children = self._children.items()
        return Sample(self, bins=[(values, [*one.counts], one.total) for values, one in children])


class Registry:
    """All metrics of the process."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, metric: Metric) -> None:
        """Register a metric; its name must be unique."""
        assert metric.name not in self._metrics, f"{metric.name} exists"
        self._metrics[metric.name] = metric

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
        """Create and register a counter; its name should end in ``_total``."""
        metric = Counter(name, help_text, labels)
        self.add(metric)
        return metric

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Create and register a gauge."""
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
        """Create and register a histogram; `bounds` are the upper bounds of its buckets."""
        metric = Histogram(name, help_text, labels, bounds)
        self.add(metric)
        return metric

    def listing(self, name: str, help_text: str, labels: tuple[str, ...]) -> Listing:
        """Create and register a gauge whose rows are computed together."""
        metric = Listing(name, help_text, labels)
        self.add(metric)
        return metric

    def metrics(self) -> list[Metric]:
        """Return all metrics sorted by name."""
        return [self._metrics[name] for name in sorted(self._metrics)]

    def exposition(self) -> str:
        """Return all metrics in the text format, version 0.0.4."""
        return exposition(metric.sample() for metric in self.metrics())


def exposition(samples: Iterable[Sample]) -> str:
    """Return samples in the text format, version 0.0.4."""
    return "\n".join(line for sample in samples for line in sample.lines()) + "\n"


def exposition_cost(samples: Iterable[Sample]) -> int:
    """Return the cost of `exposition` in bytes, for the offload: 2 microseconds a line."""
    return sum(sample.count for sample in samples) * 8


class LoopLag:
    """The lag of the event loop: how long ready work waits.

    Code that starts a piece of work calls `sample`; the time until a callback queued then runs is one observation. At
    most one sample is in flight, and an idle process takes none, so measuring causes no wake-ups.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._asked: float | None = None

    def sample(self) -> None:
        """Start a measurement, unless one is in flight."""
        if self._asked is None:
            loop = asyncio.get_running_loop()
            self._asked = loop.time()
            loop.call_soon(self._ran, loop)

    def _ran(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._asked is not None:
            self._histogram.observe(loop.time() - self._asked)
            self._asked = None


def labels_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Return labels as in the text format, braces included; "" without any."""
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
