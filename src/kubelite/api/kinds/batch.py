"""Jobs and cron jobs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.enums import (
    COMPLETION_MODES,
    CONCURRENCY_POLICIES,
    EXIT_CODE_OPERATORS,
    POD_FAILURE_ACTIONS,
    POD_REPLACEMENT_POLICIES,
)
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
    NilList,
    Time,
    merge_by,
)


class PodFailurePolicyOnExitCodesRequirement(Model):
    """Matches a failed pod by the exit codes of its containers."""

    operator: Annotated[str, REQUIRED, EXIT_CODE_OPERATORS] = ""
    values: Annotated[list[Int32], REQUIRED, SET] = []
    containerName: str | None = None


class PodFailurePolicyOnPodConditionsPattern(Model):
    """Matches a failed pod by a condition it has."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, ALWAYS] = ""


class PodFailurePolicyRule(Model):
    """What to do about a failed pod that matches."""

    action: Annotated[str, REQUIRED, POD_FAILURE_ACTIONS] = ""
    onExitCodes: PodFailurePolicyOnExitCodesRequirement | None = None
    onPodConditions: Annotated[list[PodFailurePolicyOnPodConditionsPattern], ATOMIC] = []


class PodFailurePolicy(Model):
    """Rules about failed pods, of which the first that matches counts."""

    rules: Annotated[NilList[PodFailurePolicyRule], REQUIRED, ATOMIC] = []


class SuccessPolicyRule(Model):
    """Which indexes, or how many, must succeed."""

    succeededCount: Int32 | None = None
    succeededIndexes: str | None = None


class SuccessPolicy(Model):
    """When a job has succeeded although not all of its pods have."""

    rules: Annotated[list[SuccessPolicyRule], REQUIRED, ATOMIC] = []


class JobSpec(Model):
    """What is wanted of a job."""

    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    activeDeadlineSeconds: Int64 | None = None
    backoffLimit: Int32 | None = None
    backoffLimitPerIndex: Int32 | None = None
    completionMode: Annotated[str | None, COMPLETION_MODES] = None
    completions: Int32 | None = None
    managedBy: str | None = None
    manualSelector: bool | None = None
    maxFailedIndexes: Int32 | None = None
    parallelism: Int32 | None = None
    podFailurePolicy: PodFailurePolicy | None = None
    podReplacementPolicy: Annotated[str | None, POD_REPLACEMENT_POLICIES] = None
    selector: LabelSelector | None = None
    successPolicy: SuccessPolicy | None = None
    suspend: bool | None = None
    ttlSecondsAfterFinished: Int32 | None = None


class JobTemplateSpec(Model):
    """The job a cron job makes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(Model):
    """What is wanted of a cron job."""

    jobTemplate: Annotated[JobTemplateSpec, REQUIRED] = JobTemplateSpec()
    schedule: Annotated[str, REQUIRED] = ""
    concurrencyPolicy: Annotated[str, CONCURRENCY_POLICIES] = ""
    failedJobsHistoryLimit: Int32 | None = None
    startingDeadlineSeconds: Int64 | None = None
    successfulJobsHistoryLimit: Int32 | None = None
    suspend: bool | None = None
    timeZone: str | None = None


class CronJobStatus(Model):
    """What was last observed of a cron job."""

    active: Annotated[list[ObjectReference], ATOMIC] = []
    lastScheduleTime: Time | None = None
    lastSuccessfulTime: Time | None = None


class CronJob(Kind):
    """Makes a job on a schedule."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "CronJob")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CronJobSpec, REQUIRED] = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


class CronJobList(Kind):
    """A list of cron jobs."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "CronJobList")

    items: Annotated[list[CronJob], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class JobCondition(Model):
    """One aspect of a job's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class UncountedTerminatedPods(Model):
    """Pods that ended and are not in the counters yet."""

    failed: Annotated[list[str], SET] = []
    succeeded: Annotated[list[str], SET] = []


class JobStatus(Model):
    """What was last observed of a job."""

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
    """Runs pods until enough of them have succeeded."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "Job")

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class JobList(Kind):
    """A list of jobs."""

    gvk: ClassVar = GroupVersionKind("batch", "v1", "JobList")

    items: Annotated[list[Job], REQUIRED] = []
    metadata: ListMeta = ListMeta()
