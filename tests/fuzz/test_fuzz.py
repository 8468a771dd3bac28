"""A short run of every fuzz target: its corpus, and the first cases made of it. `make fuzz` goes on from there."""

import pytest

from fuzz.target import CORPUS, Target
from fuzz.targets import TARGETS

CASES = 2000  # of the cheapest target; about half a second of work for each


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_is_read_or_refused(target: Target) -> None:
    mutator = target.mutator()
    with target.open() as check:
        for name, data in target.corpus.items():
            _held(check, data, name)
        for number in range(CASES // target.cost):
            _held(check, mutator.case(number), f"case {number}")


def _held(check: object, data: bytes, name: str) -> None:
    assert callable(check)
    try:
        check(data)
    except Exception as error:
        error.add_note(f"{name}: {data[:300]!r}")
        raise


def test_every_corpus_has_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {target.name for target in TARGETS}


def test_a_case_is_always_the_same() -> None:
    for target in TARGETS:
        first, second = target.mutator(), target.mutator()
        assert [first.case(number) for number in (5, 0)] == [
            second.case(number) for number in (5, 0)
        ]
