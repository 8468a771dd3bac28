"""What the containers of a simulated pod do: by annotations, by the first rule that matches, by the kind of their pod.

Without any, containers start within `START_SECONDS` and run; an init container ends well at once, and so does the work
of a Job after `JOB_SECONDS`.
"""

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.runtime import ContainerSpec
from kubelite.node.simulated.runtime import Behaviour, end_of
from kubelite.node.simulated.settings import SECONDS_MAX, Match, Rule, Simulation, span

log = logging.getLogger(__name__)

DOMAIN = "simulation.kubelite.io/"
START, RUN, EXIT = DOMAIN + "start-seconds", DOMAIN + "run-seconds", DOMAIN + "exit-code"
START_SECONDS = (0.05, 0.2)
JOB_SECONDS = 1.0
INIT_SECONDS = 0.05
JOB = "Job"


class Rules:
    """Says how the containers of pods behave."""

    def __init__(self, simulation: Simulation) -> None:
        self._rules = simulation.pods
        self._missing = simulation.images.missing

    def is_missing(self, image: str) -> bool:
        """Return whether no registry has an image."""
        return any(fnmatchcase(image, pattern) for pattern in self._missing)

    def behaviour(self, pod: Pod, spec: ContainerSpec) -> Behaviour:
        """Return how a container of a pod behaves."""
        base = Behaviour(start_seconds=START_SECONDS)
        if _is_init(pod, spec.name):
            return replace(base, run_seconds=(INIT_SECONDS, INIT_SECONDS))
        rule = next((one for one in self._rules if matches(one.match, pod)), Rule())
        run = rule.run_seconds
        if run is None and _owner(pod) == JOB and end_of(spec) is None:
            run = JOB_SECONDS
        if _is_sidecar(pod, spec.name):
            run = None
        base = replace(
            base,
            start_seconds=base.start_seconds
            if rule.start_seconds is None
            else span(rule.start_seconds),
            run_seconds=None if run is None else span(run),
            exit_code=rule.exit_code,
            start_failures=rule.start_failures,
            crashes=rule.crashes,
            crash_seconds=span(rule.crash_seconds),
        )
        return _annotated(base, pod.metadata.annotations)


def matches(match: Match, pod: Pod) -> bool:
    """Return whether a rule is for a pod."""
    meta = pod.metadata
    given = ((match.namespace, meta.namespace), (match.name, meta.name), (match.owner, _owner(pod)))
    if any(pattern and not fnmatchcase(text, pattern) for pattern, text in given):
        return False
    if any(
        not fnmatchcase(meta.labels.get(key, ""), pattern) or key not in meta.labels
        for key, pattern in match.labels.items()
    ):
        return False
    return not match.image or any(
        fnmatchcase(container.image, match.image) for container in pod.spec.containers
    )


def _annotated(base: Behaviour, annotations: Mapping[str, str]) -> Behaviour:
    """Return a behaviour as the annotations of the pod change it; what is no such number is logged and left out."""
    changes: dict[str, object] = {}
    for key, field in ((START, "start_seconds"), (RUN, "run_seconds")):
        if (seconds := _number(annotations, key, SECONDS_MAX)) is not None:
            changes[field] = (seconds, seconds)
    if (code := _number(annotations, EXIT, 255)) is not None:
        changes["exit_code"] = int(code)
    return replace(base, **changes) if changes else base


def _number(annotations: Mapping[str, str], key: str, most: float) -> float | None:
    text = annotations.get(key)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= most:  # not a number is neither
        log.warning("cannot use an annotation", extra={"key": key, "text": text[:40]})
        return None
    return number


def _owner(pod: Pod) -> str:
    """Return the kind of a pod's controller, "" if it has none."""
    return next((one.kind for one in pod.metadata.ownerReferences if one.controller), "")


def _is_init(pod: Pod, name: str) -> bool:
    return any(
        one.name == name and one.restartPolicy != "Always" for one in pod.spec.initContainers
    )


def _is_sidecar(pod: Pod, name: str) -> bool:
    return any(one.name == name for one in pod.spec.initContainers)
