"""Which endpoint is next."""

from kubelite.ingress.endpoints import SET_ASIDE_SECONDS, Endpoints


def test_endpoints_take_turns() -> None:
    endpoints = Endpoints(("a", "b", "c"))
    assert sorted(endpoints.choose(0) for _ in range(3)) == ["a", "b", "c"]
    assert Endpoints().choose(0) == ""


def test_an_endpoint_that_failed_is_set_aside_while_there_are_others() -> None:
    endpoints = Endpoints(("a", "b"))
    endpoints.failed("a", now=10)
    assert {endpoints.choose(11) for _ in range(4)} == {"b"}
    assert {endpoints.choose(11 + SET_ASIDE_SECONDS) for _ in range(4)} == {"a", "b"}
    endpoints.failed("b", now=11)
    assert endpoints.choose(11) in {"a", "b"}
    endpoints.answered("a")
    assert {endpoints.choose(11) for _ in range(4)} == {"a"}


def test_what_was_tried_is_not_tried_again() -> None:
    endpoints = Endpoints(("a", "b"))
    assert endpoints.choose(0, tried=["a"]) == "b"
    assert endpoints.choose(0, tried=["a", "b"]) == ""


def test_a_change_keeps_what_is_known_of_those_that_stay() -> None:
    endpoints = Endpoints(("a", "b"))
    endpoints.failed("a", now=10)
    endpoints.failed("unknown", now=10)
    endpoints.replace(("a", "c"))
    assert {endpoints.choose(11) for _ in range(4)} == {"c"}
    assert ("a" in endpoints, "b" in endpoints, len(endpoints)) == (True, False, 2)
