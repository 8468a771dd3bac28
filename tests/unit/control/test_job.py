from fakes.harness import Harness

from kubelite.api.kinds.batch import Job, JobSpec
from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta, OwnerReference
from kubelite.control.job import JobController
from kubelite.control.job_plan import TRACKING

LABELS = {"job": "j"}


def tracked(name: str, *owners: OwnerReference, phase: str = "Succeeded") -> Pod:
    metadata = ObjectMeta(
        name=name,
        namespace="default",
        labels=LABELS,
        finalizers=[TRACKING],
        ownerReferences=list(owners),
    )
    return Pod(metadata=metadata, status=PodStatus(phase=phase))


def job(parallelism: int, **labels: str) -> Job:
    return Job(
        metadata=ObjectMeta(name="j", namespace="default"),
        spec=JobSpec(selector=LabelSelector(matchLabels=labels), parallelism=parallelism),
    )


async def test_pods_of_a_former_job_of_the_same_name_are_let_go() -> None:
    async with Harness(JobController) as harness:
        former = OwnerReference(
            apiVersion="batch/v1", kind="Job", name="j", uid="old", controller=True
        )
        await harness.client.create(job(0, other="labels"))
        await harness.client.create(tracked("p", former))
        await harness.settle()
        assert [one.metadata.finalizers for one in harness.client.all(Pod)] == [[]]


async def test_pods_that_lost_their_job_are_let_go_unless_one_adopts_them() -> None:
    async with Harness(JobController) as harness:
        await harness.client.create(tracked("p"))
        await harness.settle()
        assert [one.metadata.finalizers for one in harness.client.all(Pod)] == [[]]
        adopter = await harness.client.create(job(1, **LABELS))
        await harness.client.create(tracked("q", phase="Running"))
        await harness.settle()
        (adopted,) = [one for one in harness.client.all(Pod) if one.metadata.name == "q"]
        assert adopted.metadata.ownerReferences[0].uid == adopter.metadata.uid
        assert adopted.metadata.finalizers == [TRACKING]
