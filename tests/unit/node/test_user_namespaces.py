"""Ranges of ids for pods with a user namespace of their own."""

import asyncio
from typing import Any

import pytest

from kubelite.node.runtime import Handler, IdRange
from kubelite.node.simulated.runtime import SimulatedRuntime
from kubelite.node.user_namespaces import (
    IDS_END,
    IDS_LABEL,
    IDS_PER_POD,
    NoIdsLeft,
    UserNamespaces,
    label_of,
    range_of,
    usable_ids,
)
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

SPEC: dict[str, Any] = {"containers": [container()], "hostUsers": False}


def test_no_two_pods_share_ids_and_none_has_the_hosts() -> None:
    ranges = UserNamespaces()
    taken = [ranges.take(f"pod-{number}") for number in range(200)]
    assert len({one.host_id for one in taken}) == 200
    assert all(one.host_id % IDS_PER_POD == 0 and one.host_id >= IDS_PER_POD for one in taken)
    assert ranges.take("pod-3") == taken[3]
    ranges.release("pod-3")
    assert ranges.take("other") == taken[3]


def test_there_is_an_end() -> None:
    ranges = UserNamespaces(IdRange(IDS_PER_POD, 2 * IDS_PER_POD))
    ranges.take("a")
    ranges.take("b")
    with pytest.raises(NoIdsLeft, match="could not find an empty slot"):
        ranges.take("c")
    assert IDS_END == 1 << 32


def test_a_restored_range_is_not_given_away() -> None:
    ranges = UserNamespaces()
    ranges.restore("a", label_of(IdRange(2 * IDS_PER_POD - 1, IDS_PER_POD)))  # of another version
    ranges.restore("b", {IDS_LABEL: "x:1"})
    assert ranges.take("b").host_id == 3 * IDS_PER_POD - 1
    assert range_of({}) is None
    assert label_of(None) == {}


def test_the_ids_of_the_user_kubelet() -> None:
    own = "other:1:2\nkubelet:131072:6553600\n"
    assert usable_ids(own, own) == IdRange(131072, 6553600)


@pytest.mark.parametrize(
    ("users", "groups", "reason"),
    [
        ("kubelet:65536:65536", "kubelet:131072:65536", "mismatched"),
        ("", "", "one range"),
        ("kubelet:65536:65536\nkubelet:131072:65536", "", "mismatched"),
        ("kubelet:0:65536", "kubelet:0:65536", "multiples"),
        ("kubelet:65536:1", "kubelet:65536:1", "multiples"),
        ("kubelet:65536:0", "kubelet:65536:0", "multiples"),
        ("kubelet:65536:4294967296", "kubelet:65536:4294967296", "below"),
        ("kubelet:x:65536", "kubelet:x:65536", "one range"),
    ],
)
def test_ids_that_cannot_be_used(users: str, groups: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        usable_ids(users, groups)


class Able(Cluster):
    """A node whose engine can make user namespaces."""

    def __init__(self) -> None:
        super().__init__()
        handlers = (Handler("", user_namespaces=True),)
        self.node.runtime = SimulatedRuntime(
            self.clock, SeededRandomness(3), self.behaviour, handlers
        )


def test_sandbox_and_containers_have_the_range_of_their_pod() -> None:
    async def main() -> None:
        async with Able() as cluster:
            await cluster.create(SPEC)
            await cluster.create(SPEC, "other")
            await cluster.create({"containers": [container()]}, "plain")
            for name in ("pod", "other", "plain"):
                await cluster.until(is_ready, name)
            ids = {}
            for record in cluster.node.runtime.all_records():
                if record.is_sandbox:
                    ids[record.pod_name] = range_of(record.labels)
                else:
                    own = cluster.node.runtime.spec(record.id).ids
                    sandbox = next(
                        one
                        for one in cluster.node.runtime.all_records()
                        if one.is_sandbox and one.pod_uid == record.pod_uid
                    )
                    assert own == range_of(sandbox.labels)
            assert ids["plain"] is None
            assert ids["pod"] != ids["other"]
            assert None not in (ids["pod"], ids["other"])

    run_virtually(main())


def test_a_new_sandbox_has_the_same_range_also_after_a_restart() -> None:
    async def main() -> None:
        async with Able() as cluster:
            await cluster.create(SPEC)
            await cluster.until(is_ready)
            (first,) = (one for one in cluster.node.runtime.all_records() if one.is_sandbox)
            await cluster.node.stop()
            await cluster.node.start()
            await cluster.create(SPEC, "other")
            await cluster.until(is_ready, "other")
            cluster.node.runtime.end(first.id, 137)
            while True:
                sandboxes = [
                    one
                    for one in cluster.node.runtime.all_records()
                    if one.is_sandbox and one.pod_name == "pod" and one.is_running
                ]
                if sandboxes:
                    break
                await asyncio.sleep(0.1)
            assert range_of(sandboxes[0].labels) == range_of(first.labels)

    run_virtually(main())
