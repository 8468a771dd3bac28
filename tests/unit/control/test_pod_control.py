from fakes.harness import Harness

from kubelite.api.errors import APIError, Forbidden
from kubelite.api.kinds.apps import ReplicaSet
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.pod_control import create_pod, delete_pod
from kubelite.control.runtime import Context
from kubelite.control.ttl_after_finished import TTLAfterFinishedController

OWNER = ReplicaSet(metadata=ObjectMeta(name="rs", namespace="default", uid="rs"))


class Holder(TTLAfterFinishedController):
    """Gives its context away."""

    context: Context

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        Holder.context = context


def pod(name: str = "p") -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default"))


async def test_a_successor_of_the_same_name_is_not_deleted() -> None:
    async with Harness(Holder) as harness:
        first = await harness.client.create(pod())
        await harness.client.delete(Pod, "p", "default")
        second = await harness.client.create(pod())
        assert isinstance(await delete_pod(Holder.context, OWNER, first), APIError)
        assert [one.metadata.uid for one in harness.client.all(Pod)] == [second.metadata.uid]
        assert await delete_pod(Holder.context, OWNER, second) is None
        assert harness.client.all(Pod) == []


async def test_a_namespace_that_goes_away_is_no_reason_to_try_again() -> None:
    async with Harness(Holder) as harness:
        text = "unable to create new content in namespace default because it is being terminated"
        errors = iter([Forbidden(text), Forbidden("exceeded quota")])
        harness.client.refuse = lambda verb, kind: next(errors) if kind == "Pod" else None
        assert await create_pod(Holder.context, OWNER, pod()) is None
        assert isinstance(await create_pod(Holder.context, OWNER, pod()), Forbidden)
        await harness.settle()
        assert [one.reason for one in harness.client.all(Event)] == ["FailedCreate"]
