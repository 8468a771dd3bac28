import asyncio

import pytest

from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.queue import NODE, POD_REMOVED, SchedulingQueue

TAINTS = frozenset({"TaintToleration"})


def info(uid: str = "1") -> PodInfo:
    return PodInfo(
        Pod(metadata=ObjectMeta(name=f"pod-{uid}", namespace="default", uid=uid), spec=PodSpec())
    )


@pytest.mark.parametrize(("event", "state"), [(NODE, "backoff"), (POD_REMOVED, "unschedulable")])
async def test_what_happens_while_a_pod_is_tried_is_not_missed(event: str, state: str) -> None:
    queue = SchedulingQueue()
    queue.add(info())
    waiting = await queue.get_next()
    queue.wake(event)
    queue.give_back(waiting, TAINTS)
    assert waiting.state == state
    queue.close()


async def test_a_pod_that_changes_while_it_is_tried_is_tried_again() -> None:
    queue = SchedulingQueue()
    queue.add(info())
    waiting = await queue.get_next()
    queue.add(info())
    queue.give_back(waiting, TAINTS)
    assert waiting.state == "backoff"
    queue.close()


async def test_what_happened_before_the_last_try_does_not_count() -> None:
    queue = SchedulingQueue()
    queue.add(info())
    waiting = await queue.get_next()
    queue.wake(NODE)
    queue.give_back(waiting, TAINTS)
    queue.add(info())
    assert await asyncio.wait_for(queue.get_next(), 1) is waiting
    queue.give_back(waiting, TAINTS)
    assert waiting.state == "unschedulable"
    queue.close()


async def test_an_unschedulable_pod_is_requeued_on_demand_and_others_are_left_as_they_are() -> None:
    queue = SchedulingQueue()
    queue.add(info())
    waiting = await queue.get_next()
    queue.retry_unschedulable(waiting)
    assert waiting.state == "trying"
    queue.give_back(waiting, TAINTS)
    queue.retry_unschedulable(waiting)
    assert waiting.state == "backoff"
    queue.retry_unschedulable(waiting)
    assert (waiting.state, len(queue)) == ("backoff", 1)
    queue.close()


async def test_a_pod_that_was_handed_out_is_not_held_once_it_is_discarded_or_queued_anew() -> None:
    queue = SchedulingQueue()
    queue.add(info())
    waiting = await queue.get_next()
    assert queue.holds(waiting)
    queue.discard("1")
    assert not queue.holds(waiting)
    queue.add(info())
    assert not queue.holds(waiting)
    queue.give_back(waiting, TAINTS)
    queue.retry_unschedulable(waiting)
    assert queue.count("active") == 1
    queue.close()
