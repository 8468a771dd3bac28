"""Statuses: dates of conditions that stay, and what other controllers wrote."""

from typing import Any

from kubelite.ingress.gateway_conditions import condition, merged
from kubelite.ingress.gateway_objects import CONTROLLER

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"


def dated(one: dict[str, Any], date: str) -> dict[str, Any]:
    return {**one, "lastTransitionTime": date}


def test_a_condition_keeps_its_date_until_its_status_changes() -> None:
    yes, no = (condition("Accepted", "Why", "", 1, is_true=value) for value in (True, False))
    before = {"conditions": [dated(yes, OLD)]}
    assert merged({"conditions": [yes]}, before, NEW) == {"conditions": [dated(yes, OLD)]}
    later = condition("Accepted", "Other", "text", 2, is_true=True)
    assert merged({"conditions": [later]}, before, NEW) == {"conditions": [dated(later, OLD)]}
    assert merged({"conditions": [no]}, before, NEW) == {"conditions": [dated(no, NEW)]}


def test_listeners_are_known_by_name() -> None:
    yes = condition("Accepted", "Why", "", 1, is_true=True)
    before = {"listeners": [{"name": "b", "conditions": [dated(yes, OLD)]}]}
    planned = {"listeners": [{"name": name, "conditions": [yes]} for name in "ab"]}
    found = merged(planned, before, NEW)["listeners"]
    assert [one["conditions"][0]["lastTransitionTime"] for one in found] == [NEW, OLD]


def test_parents_of_other_controllers_stay() -> None:
    yes = condition("Accepted", "Why", "", 1, is_true=True)
    theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}
    mine = {"parentRef": {"name": "x"}, "controllerName": CONTROLLER, "conditions": [yes]}
    stored = {**mine, "conditions": [dated(yes, OLD)]}
    gone = {**stored, "parentRef": {"name": "gone"}}
    found = merged({"parents": [mine]}, {"parents": [gone, theirs, stored]}, NEW)
    assert found == {"parents": [theirs, stored]}
    assert merged({"parents": []}, {"parents": [theirs, stored]}, NEW) == {"parents": [theirs]}
