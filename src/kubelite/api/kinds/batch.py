"""Jobs and cron jobs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    Time,
    merge_by,
)


class PodFailurePolicyOnExitCodesRequirement(Model):
    """PodFailurePolicyOnExitCodesRequirement."""

    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[Int32], REQUIRED, SET] = []
    containerName: str | None = None


class PodFailurePolicyOnPodConditionsPattern(Model):
    """PodFailurePolicyOnPodConditionsPattern."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, ALWAYS] = ""


class PodFailurePolicyRule(Model):
    """PodFailurePolicyRule."""

    action: Annotated[str, REQUIRED] = ""
    onExitCodes: PodFailurePolicyOnExitCodesRequirement | None = None
    onPodConditions: Annotated[list[PodFailurePolicyOnPodConditionsPattern], ATOMIC] = []


class PodFailurePolicy(Model):
    """PodFailurePolicy."""

    rules: Annotated[list[PodFailurePolicyRule], REQUIRED, ATOMIC] = []


class SuccessPolicyRule(Model):
    """SuccessPolicyRule."""

    succeededCount: Int32 | None = None
    succeededIndexes: str | None = None


class SuccessPolicy(Model):
    """SuccessPolicy."""

    rules: Annotated[list[SuccessPolicyRule], REQUIRED, ATOMIC] = []


class JobSpec(Model):
    """JobSpec."""

    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    activeDeadlineSeconds: Int64 | None = None
    backoffLimit: Int32 | None = None
    backoffLimitPerIndex: Int32 | None = None
    completionMode: str | None = None
    completions: Int32 | None = None
    managedBy: str | None = None
    manualSelector: bool | None = None
    maxFailedIndexes: Int32 | None = None
    parallelism: Int32 | None = None
    podFailurePolicy: PodFailurePolicy | None = None
    podReplacementPolicy: str | None = None
    selector: LabelSelector | None = None
    successPolicy: SuccessPolicy | None = None
    suspend: bool | None = None
    ttlSecondsAfterFinished: Int32 | None = None


class JobTemplateSpec(Model):
    """JobTemplateSpec."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(Model):
    """CronJobSpec."""

    jobTemplate: Annotated[JobTemplateSpec, REQUIRED] = JobTemplateSpec()
    schedule: Annotated[str, REQUIRED] = ""
    concurrencyPolicy: str = ""
    failedJobsHistoryLimit: Int32 | None = None
    startingDeadlineSeconds: Int64 | None = None
    successfulJobsHistoryLimit: Int32 | None = None
    suspend: bool | None = None
    timeZone: str | None = None


class CronJobStatus(Model):
    """CronJobStatus."""

    active: Annotated[list[ObjectReference], ATOMIC] = []
    lastScheduleTime: Time | None = None
    lastSuccessfulTime: Time | None = None


class CronJob(Kind):
    """CronJob."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "CronJob")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CronJobSpec, REQUIRED] = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


class CronJobList(Kind):
    """CronJobList."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "CronJobList")

    items: Annotated[list[CronJob], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class JobCondition(Model):
    """JobCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class UncountedTerminatedPods(Model):
    """UncountedTerminatedPods."""

    failed: Annotated[list[str], SET] = []
    succeeded: Annotated[list[str], SET] = []


class JobStatus(Model):
    """JobStatus."""

    active: Int32 = 0
    completedIndexes: str = ""
    completionTime: Time | None = None
    conditions: Annotated[list[JobCondition], ATOMIC, merge_by("type")] = []
    failed: Int32 = 0
    failedIndexes: str | None = None
    ready: Int32 | None = None
    startTime: Time | None = None
    succeeded: Int32 = 0
    terminating: Int32 | None = None
    uncountedTerminatedPods: UncountedTerminatedPods | None = None


class Job(Kind):
    """Job."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "Job")

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class JobList(Kind):
    """JobList."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "JobList")

    items: Annotated[list[Job], REQUIRED] = []
    metadata: ListMeta = ListMeta()
