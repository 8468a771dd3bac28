"""What pods ask for in all."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, growth
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.defaults.resources import default_pod_resources
from kubelite.api.machinery.pod_amounts import pod_amounts
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.go import structure

JSON = dict[str, Any]
asked = st.dictionaries(st.sampled_from(["cpu", "memory", "a/b"]), st.integers(0, 5).map(str))


def container(requests: JSON, *, stays: bool = False) -> JSON:
    made: JSON = {"resources": {"requests": requests}}
    return {**made, "restartPolicy": "Always"} if stays else made


@given(st.lists(asked, max_size=3), st.lists(st.tuples(asked, st.booleans()), max_size=4))
def test_a_pod_needs_what_its_fullest_moment_needs(
    main: list[JSON], first: list[tuple[JSON, bool]]
) -> None:
    moments: list[dict[str, int]] = []
    beside: dict[str, int] = {}
    for requests, stays in first:
        now = dict(beside)
        for name, text in requests.items():
            now[name] = now.get(name, 0) + int(text)
        moments.append(now)
        beside = now if stays else beside
    for requests in main:
        for name, text in requests.items():
            beside[name] = beside.get(name, 0) + int(text)
    moments.append(beside)
    spec = {
        "containers": [container(requests) for requests in main],
        "initContainers": [container(requests, stays=stays) for requests, stays in first],
    }
    fullest = {
        name: max(moment.get(name, 0) for moment in moments)
        for moment in moments
        for name in moment
    }
    assert {name: q.value() for name, q in pod_amounts(spec, "requests").items()} == fullest


def of_many(size: int, kind: str, stays: bool) -> JSON:
    made = [container({f"a/b{index}": "1"}, stays=stays) for index in range(size)]
    return {"containers": [], "resources": {"limits": {"cpu": "1"}}, kind: made}


@pytest.mark.parametrize("stays", [False, True])
def test_the_work_grows_no_faster_than_the_init_containers(stays: bool) -> None:
    kind = "initContainers"

    def adding(size: int) -> Callable[[], Any]:
        spec = of_many(size, kind, stays)
        return lambda: pod_amounts(spec, "requests")

    def filling(size: int) -> Callable[[], Any]:
        spec = of_many(size, kind, stays)
        return lambda: default_pod_resources(spec)

    assert growth(adding) < RATIO_MAX
    assert growth(filling) < RATIO_MAX


def test_a_large_pod_keeps_its_shape() -> None:
    pod = {"spec": of_many(100, "initContainers", stays=True)}
    structure(compile_struct(Pod), pod)
    default_pod_resources(pod["spec"])
    assert pod["spec"]["resources"]["limits"] == {"cpu": "1"}
