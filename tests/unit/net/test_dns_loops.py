"""Resolvers that send questions back."""

import logging

import pytest

from kubelite.limits import DNS_PROBES
from kubelite.net.dns_loops import AGAIN_SECONDS, EVERY_SECONDS, LoopGuard
from kubelite.net.dns_wire import Query, parse_query
from kubelite.randomness import SeededRandomness

GOOD, BAD = ("10.0.0.1", 53), ("10.0.0.2", 53)


def probe(guard: LoopGuard, server: tuple[str, int], now: float) -> Query:
    found = guard.probe(server, now)
    assert found is not None
    data, query = found
    assert parse_query(data).name == query.name
    return query


def test_a_server_whose_probe_comes_back_is_left_out_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = LoopGuard(SeededRandomness(1))
    asked, other = probe(guard, BAD, 0.0), probe(guard, GOOD, 0.0)
    assert asked.name != other.name
    assert guard.probe(BAD, 1.0) is None
    assert not guard.came_back((b"example", b"org"))
    with caplog.at_level(logging.WARNING):
        assert guard.came_back(asked.name)
        assert guard.came_back(asked.name)
    assert len(caplog.records) == 1
    assert guard.loops(BAD)
    assert not guard.loops(GOOD)


def test_it_is_tried_again_later_and_after_other_settings() -> None:
    guard = LoopGuard(SeededRandomness(1))
    first = probe(guard, BAD, 0.0)
    guard.came_back(first.name)
    assert guard.probe(BAD, AGAIN_SECONDS - 1) is None
    assert guard.loops(BAD)
    second = probe(guard, BAD, AGAIN_SECONDS)
    assert not guard.loops(BAD)
    assert not guard.came_back(first.name)  # an answer to the former probe says nothing of now
    assert guard.came_back(second.name)
    guard.forget()
    assert not guard.loops(BAD)
    probe(guard, BAD, AGAIN_SECONDS)


def test_a_server_in_use_is_asked_now_and_then() -> None:
    guard = LoopGuard(SeededRandomness(1))
    probe(guard, GOOD, 0.0)
    assert guard.probe(GOOD, EVERY_SECONDS - 1) is None
    probe(guard, GOOD, EVERY_SECONDS)


def test_probes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DNS_PROBES, "value", 1)
    guard = LoopGuard(SeededRandomness(1))
    probe(guard, GOOD, 0.0)
    assert guard.probe(BAD, 0.0) is None
    assert not guard.loops(BAD)
