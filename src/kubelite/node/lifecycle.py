"""Decides the next actions for a pod.

`plan` is pure: the same pod, observation and date give the same actions. All actions of one plan may be carried out at
once, since each is named only when what it depends on is already there; afterwards the pod is looked at again. Each
action may be repeated. The order in which a pod comes up: image, volumes and sandbox; its address; init containers
one by one, of which restartable ones stay; app containers.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import chain

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import parse_time
from kubelite.node.log_policy import DEAD_BY_DEFAULT, DeadContainerPolicy
from kubelite.node.observed import (
    BACKOFF_LABEL,
    HASH_LABEL,
    SANDBOX_LABEL,
    Observed,
)
from kubelite.node.pods import (
    AnyContainer,
    WantedImage,
    all_containers,
    grace_seconds,
    is_sidecar,
    is_terminal,
    resources_text,
    should_restart,
    spec_hash,
    wanted_images,
)
from kubelite.node.resizing import current_text
from kubelite.node.resources import group_limits
from kubelite.node.runtime import ContainerLimits, ContainerRecord

BACKOFF_FIRST_SECONDS = 10
BACKOFF_MAX_SECONDS = 300
BACKOFF_RESET_SECONDS = 600  # a container that ran for so long starts afresh
EVICTED = "Evicted"  # the reason of a pod that was ended to reclaim what it uses


class SetUpVolumes(Struct, frozen=True):
    """Make the pod's folders and volumes."""


class CreateSandbox(Struct, frozen=True):
    """Create and start the sandbox."""

    attempt: int


class AttachNetwork(Struct, frozen=True):
    """Give the sandbox its address."""

    sandbox: ContainerRecord


class EnsureImage(Struct, frozen=True):
    """Find or fetch an image."""

    image: WantedImage


class StartContainer(Struct, frozen=True):
    """Create and start a container."""

    container: AnyContainer
    attempt: int
    sandbox: ContainerRecord
    backoff_seconds: int  # how long its successor will have to wait


class StopContainer(Struct, frozen=True):
    """Run its preStop hook, send the stop signal, and kill it after the grace period."""

    record: ContainerRecord
    grace_seconds: int
    message: str


class LimitPod(Struct, frozen=True):
    """Give the pod's control group its settings."""

    sandbox: ContainerRecord
    limits: ContainerLimits


class ResizeContainer(Struct, frozen=True):
    """Give a running container other resources."""

    container: AnyContainer
    record: ContainerRecord


class StopSandbox(Struct, frozen=True):
    """Take the sandbox down and give its address back."""

    record: ContainerRecord


class RemoveContainer(Struct, frozen=True):
    """Remove an ended container that neither the status nor a request for logs needs."""

    record: ContainerRecord


class ReclaimVolumes(Struct, frozen=True):
    """Remove the volumes and folders of a pod that has ended but stays in the API, as upstream does."""


class TearDown(Struct, frozen=True):
    """Remove the containers, address, volumes and folders of a pod that is over."""


class FinishDeletion(Struct, frozen=True):
    """Let the API forget the pod."""


Action = (
    SetUpVolumes
    | CreateSandbox
    | AttachNetwork
    | EnsureImage
    | StartContainer
    | StopContainer
    | LimitPod
    | ResizeContainer
    | StopSandbox
    | RemoveContainer
    | ReclaimVolumes
    | TearDown
    | FinishDeletion
)


class Plan(Struct, frozen=True):
    """The actions to carry out now, and the seconds after which to requeue the pod; None: on a change only."""

    actions: tuple[Action, ...] = ()
    wait_seconds: float | None = None


class _Draft:
    """A plan under construction."""

    def __init__(
        self,
        pod: Pod,
        observed: Observed,
        now: datetime,
        dead: DeadContainerPolicy = DEAD_BY_DEFAULT,
        surplus: Collection[str] = (),
    ) -> None:
        self.dead = dead
        self.surplus = surplus
        self.pod = pod
        self.observed = observed
        self.now = now
        self.actions: list[Action] = []
        self.starts = 0
        self.wait_seconds: float | None = None

    def add(self, action: Action) -> None:
        if action in self.actions:
            return
        self.actions.append(action)
        self.starts += isinstance(action, StartContainer)

    def wait_until(self, date: datetime) -> None:
        seconds = max((date - self.now).total_seconds(), 0.0)
        self.wait_seconds = (
            seconds if self.wait_seconds is None else min(self.wait_seconds, seconds)
        )

    def is_due(self, retry_at: datetime | None) -> bool:
        """Whether a trouble may be tried again; if not yet, the plan waits for it.

        A date beyond every back-off is one of a clock that has been set back since, so it is due.
        """
        if retry_at is None:
            return False
        if self.now < retry_at <= self.now + timedelta(seconds=BACKOFF_MAX_SECONDS):
            self.wait_until(retry_at)
            return False
        return True

    def is_past(self, date: datetime) -> bool:
        """Whether a date has come; if not yet, the plan waits for it."""
        if date > self.now:
            self.wait_until(date)
        return date <= self.now

    def plan(self) -> Plan:
        return Plan(tuple(self.actions), self.wait_seconds)


def backoff_remaining(record: ContainerRecord, now: datetime) -> float:
    """Return the seconds of back-off left before an exited container is restarted; 0 if none.

    There is none after an end in the future: the clock has been set back since.
    """
    if record.finished_at is None or record.finished_at > now:
        return 0.0
    return (record.finished_at + timedelta(seconds=backoff_of(record)) - now).total_seconds()


def backoff_of(record: ContainerRecord) -> int:
    """Return the pause, in seconds, that follows this run of a container."""
    if record.started_at is not None and record.finished_at is not None:
        ran = record.finished_at - record.started_at
        if ran >= timedelta(seconds=BACKOFF_RESET_SECONDS):
            return 0
    return int(record.labels.get(BACKOFF_LABEL, "0"))


def next_backoff(record: ContainerRecord | None) -> int:
    """Return the pause that follows the next run: 10 s, doubling to 5 min."""
    if record is None:
        return 0
    if record.phase == "created":
        return backoff_of(record)  # it is replaced, and never ran
    return min(max(backoff_of(record) * 2, BACKOFF_FIRST_SECONDS), BACKOFF_MAX_SECONDS)


def deadline_of(pod: Pod) -> datetime | None:
    """Return when the pod's activeDeadlineSeconds are over."""
    if pod.spec.activeDeadlineSeconds is None or not pod.status.startTime:
        return None
    return parse_time(pod.status.startTime) + timedelta(seconds=pod.spec.activeDeadlineSeconds)


def plan(
    pod: Pod,
    observed: Observed,
    now: datetime,
    dead: DeadContainerPolicy = DEAD_BY_DEFAULT,
    surplus: Collection[str] = (),
) -> Plan:
    """Return the plan for a pod that is in the API.

    `dead` says which of its ended containers stay, and `surplus` are the ids of those that are too many for the node.
    """
    draft = _Draft(pod, observed, now, dead, surplus)
    if pod.metadata.deletionTimestamp is not None:
        _end(draft, _grace(draft))
        if not draft.actions and not observed.running():
            draft.add(FinishDeletion())
    elif observed.ending is not None or is_terminal(pod):
        _end(draft, _grace(draft))
        if is_terminal(pod) and not draft.actions and not observed.running():
            _reclaim(draft)
            _drop_surplus(draft)
    else:
        deadline = deadline_of(pod)
        if deadline is not None:
            draft.wait_until(deadline)
        _run(draft)
    return draft.plan()


def plan_orphan(observed: Observed, grace: int, now: datetime, pod: Pod | None = None) -> Plan:
    """Return the plan that removes a pod which is no longer in the API; without actions nothing of it is left."""
    draft = _Draft(pod or Pod(), observed, now)
    for record in observed.running():
        draft.add(StopContainer(record, grace, f"Stopping container {record.name}"))
    if not draft.actions:
        draft.add(TearDown())
    return draft.plan()


def _end(draft: _Draft, grace: int) -> None:
    """Stop app containers together, then sidecars from last to first, then the sandbox."""
    observed = draft.observed
    running = observed.running()
    sidecars = [c.name for c in draft.pod.spec.initContainers if is_sidecar(c)]
    first = [record for record in running if record.name not in sidecars]
    if not first:
        for name in reversed(sidecars):
            first = [record for record in running if record.name == name]
            if first:
                break
    for record in first:
        draft.add(StopContainer(record, grace, f"Stopping container {record.name}"))
    if not running:
        _end_sandboxes(draft)


def _grace(draft: _Draft) -> int:
    """Return the grace period of a pod that ends; an eviction may shorten it."""
    own, ending = grace_seconds(draft.pod), draft.observed.ending
    return own if ending is None or ending.grace_seconds is None else min(own, ending.grace_seconds)


def _reclaim(draft: _Draft) -> None:
    """Free what an ended pod has on disk: volumes; if it was evicted or the disk is full, containers and logs too."""
    observed = draft.observed
    if draft.pod.status.reason == EVICTED or observed.gives_up_containers:
        if observed.records or observed.volumes_ready:
            draft.add(TearDown())
    elif observed.volumes_ready:
        draft.add(ReclaimVolumes())


def _end_sandboxes(draft: _Draft) -> None:
    for record in draft.observed.records:
        if record.is_sandbox and record.phase != "exited":
            draft.add(StopSandbox(record))


def _run(draft: _Draft) -> None:
    observed = draft.observed
    sandbox = observed.newest_sandbox()
    if sandbox is None or not sandbox.is_running:
        _run_without_sandbox(draft, sandbox)
        return
    if strays := [one for one in _running_sandboxes(draft) if one.id != sandbox.id]:
        # Left by an agent that was killed while it made them; the pod's address is that of the newest.
        for stray in strays:
            draft.add(RemoveContainer(stray))
        return
    limits = group_limits(draft.pod)
    if observed.group_limits != limits:
        trouble = observed.sandbox_trouble
        if trouble is None or draft.is_due(trouble.retry_at):
            draft.add(LimitPod(sandbox, limits))
        if draft.pod.spec.resources is not None:
            return  # the pod's limits are in force before its first container runs
    if not _is_prepared(draft):
        _ensure_images(draft, _first_containers(draft))
        return
    if not observed.addresses:
        draft.add(AttachNetwork(sandbox))
        _ensure_images(draft, _first_containers(draft))
        return
    _start_ephemeral(draft, sandbox)
    if _initialize(draft, sandbox):
        _run_containers(draft, sandbox)
    _prune(draft)


def _first_containers(draft: _Draft) -> list[AnyContainer]:
    """Return the containers to start first, without those the engine already has, as after a restart."""
    spec = draft.pod.spec
    held = {record.name for record in draft.observed.records}
    return [one for one in spec.initContainers[:1] or spec.containers if one.name not in held]


def _is_prepared(draft: _Draft) -> bool:
    observed = draft.observed
    if observed.volumes_ready:
        return True
    trouble = observed.volumes_trouble
    if trouble is None or draft.is_due(trouble.retry_at):
        draft.add(SetUpVolumes())
    return False


def _run_without_sandbox(draft: _Draft, old: ContainerRecord | None) -> None:
    """Create a sandbox if any container still has to run; containers of the old one are stopped first."""
    observed, pod = draft.observed, draft.pod
    if running := observed.running():
        for record in running:
            message = "Pod sandbox changed, it will be killed and re-created."
            draft.add(StopContainer(record, grace_seconds(pod), message))
        return
    if older := _running_sandboxes(draft):
        for record in older:
            draft.add(StopSandbox(record))
        return
    if old is not None and _is_finished(draft):
        return
    _is_prepared(draft)
    _ensure_images(draft, _first_containers(draft))
    trouble = observed.sandbox_trouble
    if trouble is None or draft.is_due(trouble.retry_at):
        draft.add(CreateSandbox(_attempt_after(old)))


def _running_sandboxes(draft: _Draft) -> list[ContainerRecord]:
    return [one for one in draft.observed.records if one.is_sandbox and one.is_running]


def _attempt_after(last: ContainerRecord | None) -> int:
    """Return the attempt that follows; one that was made and never ran, as after a kill of the agent, is replaced."""
    if last is None:
        return 0
    return last.attempt if last.phase == "created" else last.attempt + 1


def _is_finished(draft: _Draft) -> bool:
    """Whether no app container will ever run again."""
    pod, observed = draft.pod, draft.observed
    for container in pod.spec.initContainers:
        record = observed.newest(container.name)
        if record is not None and not is_sidecar(container) and record.exit_code != 0:
            return not should_restart(pod, container, record.exit_code, is_init=True)
    for container in pod.spec.containers:
        record = observed.newest(container.name)
        if record is None or record.phase != "exited":
            return False
        if should_restart(pod, container, record.exit_code, is_init=False):
            return False
    return True


def _current(draft: _Draft, name: str, sandbox: ContainerRecord) -> ContainerRecord | None:
    """Return a container's latest record if it was made in this sandbox."""
    record = draft.observed.newest(name)
    if record is not None and record.labels.get(SANDBOX_LABEL) == sandbox.id:
        return record
    return None


def _initialize(draft: _Draft, sandbox: ContainerRecord) -> bool:
    """Bring the init containers forward; True once app containers may run."""
    pod = draft.pod
    has_started = any(_current(draft, c.name, sandbox) for c in pod.spec.containers)
    for container in pod.spec.initContainers:
        record = _current(draft, container.name, sandbox)
        if is_sidecar(container):
            if _is_finished(draft):
                continue
            _keep_running(draft, container, record, sandbox)
            if not has_started and not _has_started(draft, record):
                return False
        elif has_started or (record is not None and _succeeded(record)):
            continue
        else:
            if record is None or not record.is_running:
                _keep_running(draft, container, record, sandbox, is_init=True)
            if _is_finished(draft):
                _end(draft, grace_seconds(pod))
            return False
    return True


def _succeeded(record: ContainerRecord) -> bool:
    return record.phase == "exited" and record.exit_code == 0


def _has_started(draft: _Draft, record: ContainerRecord | None) -> bool:
    if record is None or not record.is_running or record.id in draft.observed.hooks_running:
        return False
    health = draft.observed.health.get(record.id)
    return health is None or health.started


def _run_containers(draft: _Draft, sandbox: ContainerRecord) -> None:
    """Keep the app containers running; as upstream does, one is started only when those before it are done."""
    _ensure_images(draft, _wanted(draft, sandbox))
    may_start = True
    for container in draft.pod.spec.containers:
        record = _current(draft, container.name, sandbox)
        if may_start or (record is not None and record.is_running):
            starts_before = draft.starts
            _keep_running(draft, container, record, sandbox)
            may_start = may_start and draft.starts == starts_before
        may_start = may_start and not _is_under_way(draft, container, record)
    if _is_finished(draft):
        _end(draft, grace_seconds(draft.pod))


def _wanted(draft: _Draft, sandbox: ContainerRecord) -> list[AnyContainer]:
    """Return the app containers that have not been made yet, so that their images are fetched side by side."""
    containers = draft.pod.spec.containers
    return [one for one in containers if _current(draft, one.name, sandbox) is None]


def _is_under_way(draft: _Draft, container: AnyContainer, record: ContainerRecord | None) -> bool:
    """Whether a container is about to start: its image is being pulled, or its postStart hook runs."""
    if record is not None:
        return record.id in draft.observed.hooks_running
    states = [draft.observed.images.get(one.key) for one in wanted_images(draft.pod, container)]
    return any(state is None or state.pulling for state in states)


def _start_ephemeral(draft: _Draft, sandbox: ContainerRecord) -> None:
    for container in draft.pod.spec.ephemeralContainers:
        record = draft.observed.newest(container.name)
        if record is None or record.phase == "created":
            _start(draft, container, record, sandbox)


def _keep_running(
    draft: _Draft,
    container: AnyContainer,
    record: ContainerRecord | None,
    sandbox: ContainerRecord,
    *,
    is_init: bool = False,
) -> None:
    """Start a container that should run, and stop one that must be replaced."""
    if record is None:
        _start(draft, container, draft.observed.newest(container.name), sandbox)
    elif record.is_running:
        _replace_if_needed(draft, container, record)
    elif record.phase == "created":
        _start(draft, container, record, sandbox)
    elif should_restart(draft.pod, container, record.exit_code, is_init=is_init):
        remaining = backoff_remaining(record, draft.now)
        if remaining > 0:
            draft.wait_until(draft.now + timedelta(seconds=remaining))
        else:
            _start(draft, container, record, sandbox)


def _replace_if_needed(draft: _Draft, container: AnyContainer, record: ContainerRecord) -> None:
    grace = grace_seconds(draft.pod)
    health = draft.observed.health.get(record.id)
    if health is not None and health.failure:
        failed = {"Startup": container.startupProbe, "Liveness": container.livenessProbe}
        probe = failed.get(health.failed_probe)
        if probe is not None and probe.terminationGracePeriodSeconds is not None:
            grace = probe.terminationGracePeriodSeconds
        draft.add(StopContainer(record, grace, health.failure))
    elif record.labels.get(HASH_LABEL, spec_hash(container)) != spec_hash(container):
        message = f"Container {container.name} definition changed, will be restarted"
        draft.add(StopContainer(record, grace, message))
    else:
        _resize_if_needed(draft, container, record)


def _resize_if_needed(draft: _Draft, container: AnyContainer, record: ContainerRecord) -> None:
    current = current_text(record, draft.observed)
    if not current or current == resources_text(container):
        return
    trouble = draft.observed.resize_troubles.get(record.id)
    if trouble is not None and not draft.is_due(trouble.retry_at):
        return
    if any(policy.restartPolicy == "RestartContainer" for policy in container.resizePolicy):
        message = f"Container {container.name} resize requires restart"
        draft.add(StopContainer(record, grace_seconds(draft.pod), message))
    else:
        draft.add(ResizeContainer(container, record))


def _start(
    draft: _Draft, container: AnyContainer, last: ContainerRecord | None, sandbox: ContainerRecord
) -> None:
    trouble = draft.observed.troubles.get(container.name)
    if trouble is not None and not draft.is_due(trouble.retry_at):
        return
    if _ensure_images(draft, [container]):
        attempt = _next_attempt(draft, container, last)
        draft.add(StartContainer(container, attempt, sandbox, next_backoff(last)))


def _next_attempt(draft: _Draft, container: AnyContainer, last: ContainerRecord | None) -> int:
    if last is not None:
        return _attempt_after(last)
    # The containers of a pod that had run were removed from outside, so its restarts are read from its status.
    status = draft.pod.status
    for known in (*status.containerStatuses, *status.initContainerStatuses):
        if known.name == container.name and known.containerID:
            return known.restartCount + 1
    return 0


def _ensure_images(draft: _Draft, containers: list[AnyContainer]) -> bool:
    """Plan the pulls of missing images; return whether all images are present."""
    ready = True
    for image in chain.from_iterable(wanted_images(draft.pod, one) for one in containers):
        state = draft.observed.images.get(image.key)
        if state is not None and state.image_id:
            continue
        ready = False
        if state is not None and state.pulling:
            continue
        if state is None or state.trouble is None or draft.is_due(state.trouble.retry_at):
            draft.add(EnsureImage(image))
    return ready


def _drop_surplus(draft: _Draft) -> None:
    """Plan the removal of ended containers that are too many for the node, and wait for those that are too young."""
    if draft.dead.total < 0 or TearDown() in draft.actions:
        return
    for record in draft.observed.records:
        if record.id in draft.surplus:
            draft.add(RemoveContainer(record))
        elif not record.is_running and not record.is_sandbox:
            draft.is_past(record.created_at + draft.dead.age)


def _prune(draft: _Draft) -> None:
    """Plan the removal of ended containers beyond those that `kubectl logs --previous` may read."""
    kept = draft.dead.kept
    for container in all_containers(draft.pod) if kept >= 0 else ():
        for record in draft.observed.attempts(container.name)[1 + kept :]:
            if not record.is_running and draft.is_past(record.created_at + draft.dead.age):
                draft.add(RemoveContainer(record))
    _drop_surplus(draft)
    for record in draft.observed.records:
        if record.is_sandbox and not record.is_running:
            draft.add(RemoveContainer(record))
