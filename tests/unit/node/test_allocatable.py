"""What is kept back of a node, and what pods may have."""

import pytest
from msgspec.structs import replace

from kubelite.node.allocatable import (
    InvalidReservation,
    Reservations,
    amounts_of_pods,
    check,
    left_for_pods,
    parse_reservation,
)
from kubelite.node.eviction.thresholds import parse_thresholds
from kubelite.node.registration import NodeIdentity, status_of_node
from kubelite.node.simulated.node import DEFAULT_MACHINE

GIB = 1 << 30
MACHINE = replace(DEFAULT_MACHINE, processes=1000)  # 4 cores, 16 GiB of memory, 100 GiB of disk
KEPT = Reservations(
    {"cpu": 500, "memory": GIB},
    {"cpu": 250, "memory": GIB, "ephemeral-storage": 10 * GIB, "pid": 100},
    parse_thresholds(
        ["memory.available<1Gi", "nodefs.available<10%"],
        ["memory.available<8Gi"],
        ["memory.available=1m"],
    ),
)


def test_reservations_and_hard_thresholds_are_taken_from_what_pods_may_request() -> None:
    assert left_for_pods(KEPT, MACHINE) == {
        "cpu": "3250m",
        "memory": "13Gi",
        "ephemeral-storage": str(80 * GIB),
    }


def test_the_pods_group_may_use_what_eviction_keeps_free() -> None:
    assert amounts_of_pods(KEPT, MACHINE) == {"cpu": 3250, "memory": 14 * GIB, "pid": 900}
    assert amounts_of_pods(replace(KEPT, enforces_pods=False), MACHINE) == {"cpu": 4000}
    assert amounts_of_pods(Reservations(), MACHINE) == {"cpu": 4000}
    assert "pid" not in amounts_of_pods(KEPT, replace(MACHINE, processes=0))


def test_the_node_reports_it() -> None:
    identity = NodeIdentity("n", ("10.0.0.1",), 10250, pods_limit=7, reservations=KEPT)
    status = status_of_node(identity, MACHINE, None, (), [])
    assert (status.capacity["memory"], status.allocatable["memory"]) == ("16Gi", "13Gi")
    assert (status.capacity["pods"], status.allocatable["pods"]) == ("7", "7")


def test_more_than_there_is_is_refused() -> None:
    check(KEPT, MACHINE)
    with pytest.raises(InvalidReservation) as refused:
        check(replace(KEPT, system={"memory": 15 * GIB, "cpu": 4000}), MACHINE)
    assert str(refused.value) == (
        "invalid Node Allocatable configuration. "
        'Resource "cpu" has a reservation of 4250m but capacity of 4. '
        "Expected capacity >= reservation. "
        'Resource "memory" has a reservation of 17Gi but capacity of 16Gi. '
        "Expected capacity >= reservation."
    )


@pytest.mark.parametrize("text", ["cpu", "memory=lots", "cpu=-1", "hugepages-2Mi=1"])
def test_what_cannot_be_kept_back(text: str) -> None:
    with pytest.raises(InvalidReservation):
        parse_reservation([text])
