"""What is said of nodes that are not Ready."""

from typing import Any

import pytest

from kubelite.clusters.api import missing, ready_problem


def _node(status: str, message: str = "") -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", "status": status, "message": message}]}}


READY, NOT = _node("True"), _node("False", "no engine")


def test_ready_problem() -> None:
    assert ready_problem(READY) == ""
    assert ready_problem(NOT) == "no engine"
    assert ready_problem({}) == "it has told nothing yet"


@pytest.mark.parametrize(
    ("names", "number", "nodes", "text"),
    [
        ({"a", "b"}, 2, {"a": READY}, "node b has not registered"),
        ({"a"}, 1, {"a": NOT}, "node a is not ready: no engine"),
        (set(), 3, {"s-0": READY}, "1 of 3 nodes have registered"),
        (
            {"a", "b", "c", "d"},
            4,
            {},
            "node a has not registered; node b has not registered; node c has not registered; and 1 more",
        ),
    ],
)
def test_missing(names: set[str], number: int, nodes: dict[str, Any], text: str) -> None:
    assert missing(frozenset(names), number, nodes) == text
