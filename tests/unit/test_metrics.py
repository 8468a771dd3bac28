import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubelite import metrics
from kubelite.metrics import Histogram, LoopLag, Registry


def test_the_text_form_is_read_by_the_reference_parser() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", 'how "many"\nrequests', ("verb", "code"))
    requests.labelled("GET", "200").increase()
    requests.labelled("GET", "200").increase(2)
    requests.labelled('a"b\\c\nd', "0").increase()
    depth = registry.gauge("depth", "how deep")
    depth.set(1.5)
    registry.gauge("size", "computed", ("of",)).computed(lambda: 7, "all")
    took = registry.histogram("took_seconds", "how long", ("what",), bounds=(0.1, 1))
    for value in (0.05, 0.1, 0.5, 3):
        took.labelled("x").observe(value)
    families = {
        family.name: family for family in text_string_to_metric_families(registry.exposition())
    }
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["requests_total", (("code", "200"), ("verb", "GET"))] == 3
    assert samples["requests_total", (("code", "0"), ("verb", 'a"b\\c\nd'))] == 1
    assert samples["depth", ()] == 1.5
    assert samples["size", (("of", "all"),)] == 7
    assert samples["took_seconds_bucket", (("le", "0.1"), ("what", "x"))] == 2
    assert samples["took_seconds_bucket", (("le", "+Inf"), ("what", "x"))] == 4
    assert samples["took_seconds_count", (("what", "x"),)] == 4
    assert samples["took_seconds_sum", (("what", "x"),)] == 3.65
    assert families["took_seconds"].type == "histogram"


async def test_loop_lag_is_measured_only_when_asked() -> None:
    histogram = Histogram("lag_seconds", "lag")
    lag = LoopLag(histogram)
    lag.sample()
    lag.sample()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert histogram.labelled().count == 1


def test_numbers_that_are_none_are_written_as_the_text_form_demands() -> None:
    registry = Registry()
    gauge = registry.gauge("odd", "odd numbers", ("of",))
    for value in ("inf", "-inf", "nan"):
        gauge.labelled(value).set(float(value))
    lines = registry.exposition().splitlines()[2:]
    assert lines == ['odd{of="-inf"} -Inf', 'odd{of="inf"} +Inf', 'odd{of="nan"} NaN']


def test_a_number_that_cannot_be_computed_does_not_break_the_rest() -> None:
    def broken() -> float:
        raise OSError("no such file")

    registry = Registry()
    registry.gauge("broken", "Cannot be read.").computed(broken)
    registry.counter("fine_total", "Fine.").increase()
    assert "broken NaN\n" in registry.exposition()
    assert "fine_total 1\n" in registry.exposition()


def test_computed_children_past_the_limit_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHILDREN_LIMIT", 1)
    registry = Registry()
    gauge = registry.gauge("many", "Many.", ("name",))
    for name in "abc":
        gauge.computed(lambda: 2.0, name)
    assert 'many{name="other"} 2\n' in registry.exposition()
