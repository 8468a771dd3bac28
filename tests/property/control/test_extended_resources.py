"""Extended resources as requests for devices: as many as the pod needs at most at one time, and to each its own."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.pods import Pod
from kubelite.control.scheduler.devices.extended import special_claim
from kubelite.control.scheduler.requests import pod_requests

GPU = "example.com/gpu"
counts = st.integers(0, 4)
init = st.lists(st.tuples(counts, st.booleans()), max_size=4)  # how many, and whether it stays


def made(name: str, count: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": {"cpu": "1", GPU: str(count)}}, **fields}


@given(st.lists(counts, min_size=1, max_size=3), init)
def test_containers_get_what_they_ask_for_and_share_nothing_while_they_run_together(
    containers: list[int], before: list[tuple[int, bool]]
) -> None:
    spec = {
        "containers": [made(f"c{number}", count) for number, count in enumerate(containers)],
        "initContainers": [
            made(f"i{number}", count, **({"restartPolicy": "Always"} if stays else {}))
            for number, (count, stays) in enumerate(before)
        ],
    }
    pod = msgspec.convert({"metadata": {"name": "p"}, "spec": spec}, Pod)
    special = special_claim(pod, {GPU: "gpu"}, "u")
    sizes = {
        one.name: one.exactly.count for one in special.claim.spec.devices.requests if one.exactly
    }
    assert all(sizes.values())
    assert sum(sizes.values()) == pod_requests(pod)[GPU]
    of: dict[str, set[str]] = {}
    for mapping in special.mappings:
        names = of.setdefault(mapping.containerName, set())
        assert mapping.requestName not in names
        names.add(mapping.requestName)
    asked = {f"c{n}": count for n, count in enumerate(containers)}
    asked |= {f"i{n}": count for n, (count, _) in enumerate(before)}
    for name, count in asked.items():
        got = sum(sizes[one] for one in of.get(name, ()))
        assert got >= count
        assert bool(got) == bool(count)
    running: list[str] = []
    for number, (_, stays) in enumerate(before):
        check_apart([*running, f"i{number}"], of)
        running += [f"i{number}"] * stays
    check_apart([*running, *(f"c{number}" for number in range(len(containers)))], of)


def check_apart(together: list[str], of: dict[str, set[str]]) -> None:
    used = [request for name in together for request in of.get(name, ())]
    assert len(used) == len(set(used))
