"""Ended containers that are too many for the whole node."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.dead_containers import beyond_total, ended_containers, newest_ids
from kubelite.node.lifecycle import RemoveContainer, plan
from kubelite.node.log_policy import DeadContainerPolicy
from kubelite.node.observed import Observed
from kubelite.node.runtime import ContainerRecord
from unit.node.cluster import Cluster, container, is_ready, run_virtually
from unit.node.test_lifecycle import NOW, SANDBOX_UP, pod_of, record, up, with_status


def runs(name: str, *ages_seconds: int, phase: str = "exited") -> list[ContainerRecord]:
    """Runs of a container, the newest first; each is named after its age."""
    newest = len(ages_seconds) - 1
    return [
        record(
            name,
            phase,
            id=f"{name}-{age}",
            attempt=newest - place,
            created_at=NOW - timedelta(seconds=age),
        )
        for place, age in enumerate(ages_seconds)
    ]


@pytest.mark.parametrize(
    ("total", "kept", "gone"),
    [
        (6, "", ""),
        (5, "", "a-90 a-30 b-40"),  # the share of three containers is one
        (3, "", "a-90 a-30 b-40"),
        (2, "", "a-90 a-30 b-40 c-80"),
        (2, "c-80", "a-90 a-30 b-40 b-20"),
        (0, "", "a-90 a-30 b-40 c-80 a-10 b-20"),
        (0, "a-10 b-20 c-80", "a-90 a-30 b-40"),
    ],
)
def test_each_container_has_a_share_and_the_oldest_go_first(
    total: int, kept: str, gone: str
) -> None:
    units = [runs("a", 10, 30, 90), runs("b", 20, 40), runs("c", 80)]
    assert beyond_total(units, frozenset(kept.split()), total) == set(gone.split())


def test_nothing_is_too_much_where_nothing_ended() -> None:
    assert beyond_total([], frozenset(), 0) == frozenset()


def test_running_young_and_sandboxes_do_not_count() -> None:
    records = [*runs("a", 10, 30, 90), *runs("b", 50, phase="running"), SANDBOX_UP]
    policy = DeadContainerPolicy(age=timedelta(seconds=20), total=1)
    (found,) = ended_containers(records[::-1], policy, NOW)
    assert [one.id for one in found] == ["a-30", "a-90"]
    assert newest_ids(records[::-1]) >= {"a-10", "b-50"}


def test_the_last_runs_of_pods_that_are_over_go_and_their_status_stays() -> None:
    async def scenario() -> None:
        async with Cluster() as cluster:
            assert cluster.node.kubelet is not None
            workers, runtime = cluster.node.kubelet.workers, cluster.node.runtime
            workers._facts = replace(workers._facts, dead_containers=DeadContainerPolicy(total=1))
            spec = {"restartPolicy": "Never", "containers": [container()]}

            def ended(pod: Pod) -> list[ContainerRecord]:
                return [
                    one
                    for one in runtime.all_records()
                    if not one.is_sandbox and not one.is_running and pod.status.phase == "Failed"
                ]

            for name in ("p0", "p1", "p2"):
                await cluster.create(spec, name)
                pod = await cluster.until(is_ready, name)
                runtime.end(pod.status.containerStatuses[0].containerID.rpartition("//")[2], 3)
                await cluster.until(lambda pod: len(ended(pod)) == 1, name)
            (left,) = ended(await cluster.pod("p2"))
            assert left.pod_name == "p2"
            for name in ("p0", "p1", "p2"):
                (status,) = (await cluster.pod(name)).status.containerStatuses
                assert status.state.terminated is not None
                assert status.state.terminated.exitCode == 3

    run_virtually(scenario())


def test_what_is_too_much_for_the_node_is_removed() -> None:
    policy = DeadContainerPolicy(-1, total=1)
    observed = up(*runs("app", 0, 1, 2))
    decision = plan(pod_of(), observed, NOW, policy, {"app-2"})
    removed = [one.record.id for one in decision.actions if isinstance(one, RemoveContainer)]
    assert removed == ["app-2"]


def test_a_container_that_is_too_young_is_waited_for() -> None:
    policy = DeadContainerPolicy(-1, timedelta(seconds=60), total=0)
    pod = with_status(pod_of(), phase="Failed")
    decision = plan(pod, Observed(records=runs("app", 20)), NOW, policy)
    assert decision.wait_seconds == 40
