import gc
import tracemalloc

import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.defaults.images import pull_policy
from kubelite.api.machinery.remembering import LENGTH_MAX, remembered
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.structural import structure
from kubelite.api.registry.rules.batch import schedule_error


def test_short_texts_are_remembered_and_long_ones_are_not() -> None:
    asked = []

    @remembered(2)
    def size(text: str) -> int:
        asked.append(text)
        return len(text)

    short, long = "a", "a" * (LENGTH_MAX + 1)
    assert [size(text) for text in (short, short, long, long)] == [1, 1, len(long), len(long)]
    assert asked == [short, long, long]


def _send(text: str) -> None:
    """Send a date, a quantity, an image and a schedule of this length."""
    quantity = f"{' ' * len(text)}{text[:6]}"
    container = {"name": "a", "resources": {"limits": {"cpu": quantity}}}
    metadata = {"creationTimestamp": f"2026-01-01T00:00:00.{text}Z"}
    structure(compile_struct(Pod), {"metadata": metadata, "spec": {"containers": [container]}})
    pull_policy(text)
    schedule_error(text)


def test_nothing_that_clients_send_is_kept_by_the_megabyte() -> None:
    texts = [f"{index:06}" + "0" * 50_000 for index in range(100)]
    _send("1")
    tracemalloc.start()
    for text in texts:
        _send(text)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.parametrize("text", ["1" * 5000 + " * * * *", "*/" + "9" * 5000 + " * * * *"])
def test_schedules_of_thousands_of_digits_are_refused(text: str) -> None:
    assert schedule_error(text).startswith("failed to parse schedule: ")
