import pytest

from kubelite.api.machinery.selectors import parse_selector
from kubelite.control.autoscaling.selecting import Selecting
from kubelite.control.runtime import Key


@pytest.mark.parametrize("text", ["app=web", "app in (web)", "app in (web,db)", "app", "app!=db"])
def test_selectors_find_their_pods(text: str) -> None:
    selecting = Selecting()
    key = Key("default", "a")
    selecting.put(key, parse_selector(text))

    def found(namespace: str, **labels: str) -> list[Key]:
        return [one for one in selecting.keys(namespace, labels) if one is not None]

    assert found("default", app="web", tier="x") == [key]
    assert found("other", app="web") == []
    assert found("default", app="db") == ([key] if text in ("app", "app in (web,db)") else [])
    selecting.put(key, parse_selector("app=new"))
    assert found("default", app="web") == []
    assert found("default", app="new") == [key]
    selecting.drop(key)
    selecting.drop(key)
    assert found("default", app="new") == []


def test_only_candidates_are_matched() -> None:
    selecting = Selecting()
    for number in range(1000):
        selecting.put(Key("default", f"a{number}"), parse_selector(f"app=web{number}"))
    steps = list(selecting.keys("default", {"app": "web7", "tier": "x"}))
    assert len(steps) == 4
    assert [one for one in steps if one is not None] == [Key("default", "a7")]
