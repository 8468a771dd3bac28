"""What is known of a pod's containers, also of very many."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.observed import Observed
from kubelite.node.runtime import ContainerRecord
from kubelite.node.status import Host, status_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Counted(list[Any]):
    """A list that counts how often it was gone through."""

    def __init__(self, items: Any) -> None:
        super().__init__(items)
        self.times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        return super().__iter__()


def record(name: str, attempt: int = 0) -> ContainerRecord:
    return ContainerRecord(
        f"{name}-{attempt}", "u", "p", "default", name, attempt, "running", NOW, NOW
    )


def test_attempts_come_newest_first() -> None:
    records = [record("a", 1), record("b"), record("a", 3), record("a", 2)]
    observed = Observed(records=records)
    assert [one.attempt for one in observed.attempts("a")] == [3, 2, 1]
    assert observed.newest("a") == records[2]
    assert observed.attempts("c") == []
    assert observed.newest("c") is None
    observed.attempts("a").clear()
    assert len(observed.attempts("a")) == 3
    assert observed == Observed(records=records)


def test_a_status_goes_through_the_containers_once_and_not_for_each() -> None:
    names = [f"c{number}" for number in range(500)]
    containers = [{"name": name, "image": "i"} for name in names]
    known = [{**one, "imageID": "", "ready": True, "restartCount": 0} for one in containers]
    pod = msgspec.convert(
        {
            "metadata": {"name": "p"},
            "spec": {"containers": containers},
            "status": {"containerStatuses": known},
        },
        Pod,
    )
    statuses = Counted(pod.status.containerStatuses)
    pod = msgspec.structs.replace(
        pod, status=msgspec.structs.replace(pod.status, containerStatuses=statuses)
    )
    records = Counted([record(name) for name in names])
    assert len(status_of(pod, Observed(records=records), NOW, Host()).containerStatuses) == 500
    assert statuses.times < 20
    assert records.times < 20
