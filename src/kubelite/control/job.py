"""Runs the pods of Jobs until enough have succeeded or too many have failed."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.batch import Job
from kubelite.api.kinds.core.containers import Container, EnvVar, EnvVarSource
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectFieldSelector
from kubelite.control.batches import for_each, slow_start
from kubelite.control.job_indexes import INDEX, annotations_of, counts_each_index
from kubelite.control.job_plan import (
    TRACKING,
    Plan,
    cost_bytes,
    find,
    is_finished,
    matching_rule,
    plan,
)
from kubelite.control.ownership import controlled_by, controller_of, orphan_in, owned_by
from kubelite.control.pod_control import create_pod, delete_pod
from kubelite.control.pods import POD_COST_BYTES, pod_from_template
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import matcher
from kubelite.control.selector_index import SelectorIndex
from kubelite.tasks import in_slices

JOB_INDEX = "job name"
ORPHANS_AT_ONCE = 50
ENVIRONMENT = "JOB_COMPLETION_INDEX"


def pod_for(job: Job, index: int | None, replaced: Pod | None = None) -> Pod:
    """Return a pod of a job, with the tracking finalizer and, if `index` is given, its completion index.

    The failure counts of the failed pod `replaced` carry over with backoffLimitPerIndex.
    """
    pod = pod_from_template(job.spec.template, job)
    metadata = replace(pod.metadata, finalizers=[*pod.metadata.finalizers, TRACKING])
    if index is None:
        return replace(pod, metadata=metadata)
    counted = (
        annotations_of(replaced, lambda pod: matching_rule(job, pod))
        if counts_each_index(job)
        else {}
    )
    metadata = replace(
        metadata,
        generateName=f"{job.metadata.name}-{index}-",
        annotations={**metadata.annotations, INDEX: str(index), **counted},
        labels={**metadata.labels, INDEX: str(index)},
    )
    spec = replace(
        pod.spec,
        hostname=f"{job.metadata.name}-{index}",
        containers=[_with_index(one) for one in pod.spec.containers],
        initContainers=[_with_index(one) for one in pod.spec.initContainers],
    )
    return replace(pod, metadata=metadata, spec=spec)


def _with_index(container: Container) -> Container:
    if any(one.name == ENVIRONMENT for one in container.env):
        return container
    field = ObjectFieldSelector(apiVersion="v1", fieldPath=f"metadata.labels['{INDEX}']")
    number = EnvVar(name=ENVIRONMENT, valueFrom=EnvVarSource(fieldRef=field))
    return replace(container, env=[*container.env, number])


def job_of(pod: Pod) -> tuple[str, ...]:
    """Index pods by ``namespace/name`` of the job that controls them."""
    reference = controller_of(pod.metadata)
    if reference is None or reference.kind != "Job":
        return ()
    return (f"{pod.metadata.namespace}/{reference.name}",)


class JobController:
    """Reconciles jobs."""

    name = "job-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._jobs = context.mirror(Job)
        self._pods = context.mirror(Pod)
        self._pods.add_index(JOB_INDEX, job_of)
        self._pods.add_index("orphan", orphan_in)
        self._selecting: SelectorIndex[Job] = SelectorIndex(lambda job: job.spec.selector)
        context.follow(Job, self._selecting.changed)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch jobs and their pods."""
        return (Watch(Job), Watch(Pod, self._keys_of_pod))

    async def reconcile(self, key: Key) -> float | None:
        """Take one step, write the status, then remove the finalizers of the pods that it records.

        A key without a name stands for the pods of a namespace that have the finalizer but no controller.
        """
        if not key.name:
            await self._release_orphans(key.namespace)
            return None
        job = self._jobs.get(key.name, key.namespace)
        own = self._pods.indexed(JOB_INDEX, f"{key.namespace}/{key.name}")
        offload = self._context.offload
        await self._release(
            await offload.run(
                POD_COST_BYTES * len(own) // 8, lambda: [pod for pod in own if _is_held(job, pod)]
            )
        )
        if job is None or is_finished(job):
            return None
        if job.spec.managedBy not in (None, "kubernetes.io/job-controller"):
            return None
        orphans = self._pods.indexed("orphan", key.namespace)
        matches = matcher(job.spec.selector)
        pods = await owned_by(self._client, offload, job, matches, [*own, *orphans])
        planned, now = job, self._context.clock.now()
        step = await offload.run(cost_bytes(job, pods), lambda: plan(planned, pods, now))
        failure = await self._apply(job, step, pods)
        if step.status != job.status:
            job = await self._client.update(replace(job, status=step.status), "status")
            self._say(job)
        await self._release(step.release)
        if failure is not None:
            raise failure
        return step.again_seconds

    async def _apply(self, job: Job, step: Plan, pods: Sequence[Pod]) -> APIError | None:
        names = frozenset(step.delete)
        leaving = [pod for pod in pods if pod.metadata.name in names] if names else ()
        failures = await for_each(leaving, lambda pod: delete_pod(self._context, job, pod))

        async def create(number: int) -> APIError | None:
            index = step.create[number]
            pod = pod_for(job, index, step.replaced.get(_number(index)))
            return await create_pod(self._context, job, pod)

        failure = await slow_start(len(step.create), create)
        return failure or next((one for one in failures if one is not None), None)

    async def _release_orphans(self, namespace: str) -> None:
        """Remove the finalizer of pods that lost their job, unless another job can adopt them."""
        orphans = self._pods.indexed("orphan", namespace)
        async for some in in_slices(orphans, ORPHANS_AT_ONCE):
            await self._release(
                pod
                for pod in some
                if TRACKING in pod.metadata.finalizers and not any(self._adopters(pod))
            )

    async def _release(self, pods: Iterable[Pod]) -> None:
        await for_each(list(pods), self._release_one)

    async def _release_one(self, pod: Pod) -> None:
        meta = pod.metadata
        rest = [name for name in meta.finalizers if name != TRACKING]
        guard = {"uid": meta.uid, "resourceVersion": meta.resourceVersion}
        try:
            await self._client.patch(
                Pod, meta.name, {"metadata": {**guard, "finalizers": rest}}, meta.namespace
            )
        except NotFound:
            return

    def _say(self, job: Job) -> None:
        if find(job, "Complete") is not None:
            self._context.events.event(job, NORMAL, "Completed", "Job completed")
        elif (failed := find(job, "Failed")) is not None:
            self._context.events.event(job, WARNING, failed.reason, failed.message)

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key | None]:
        if controller_of(pod.metadata) is not None:
            return controlled_by(Job)(pod)
        orphans = (Key(pod.metadata.namespace, ""),) if TRACKING in pod.metadata.finalizers else ()
        return chain(orphans, self._adopters(pod))

    def _adopters(self, pod: Pod) -> Iterable[Key | None]:
        """Yield the keys of the jobs that can adopt a pod, and None for each other step."""
        for key in self._selecting.keys(pod.metadata.namespace, pod.metadata.labels):
            job = self._jobs.get(key.name, key.namespace) if key is not None else None
            leaving = job is None or job.metadata.deletionTimestamp is not None or is_finished(job)
            yield None if leaving else key


def _number(index: int | None) -> int:
    return -1 if index is None else index


def _is_held(job: Job | None, pod: Pod) -> bool:
    """Return whether a pod has the finalizer though its job has finished or is gone; another may have its name."""
    if TRACKING not in pod.metadata.finalizers:
        return False
    if job is None or is_finished(job):
        return True
    reference = controller_of(pod.metadata)
    return reference is None or reference.uid != job.metadata.uid
