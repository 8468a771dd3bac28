"""Warnings about workloads: their names, their pod templates, and settings with unexpected effects."""

from collections.abc import Iterator

from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings import pods
from kubelite.api.registry.rules.warnings.texts import surprising_name
from kubelite.api.registry.rules.warnings.volumes import claim_spec
from kubelite.api.registry.rules.workloads import TEMPLATE_GENERATION

_IN_PODS = "Pod names and hostnames"
_COMPLETIONS_SOFT_MAX = 100_000
_PARALLELISM_SOFT_MAX = 10_000
_HISTORY = (
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
    "a value >= 0 is recommended"
)


def _changed(thing: JSON, old: JSON) -> bool:
    """Return whether the spec changed; an unchanged template has been warned about before."""
    return bool(thing["metadata"].get("generation") != old["metadata"].get("generation"))


def create(thing: JSON) -> Iterator[str]:
    """Warn about a new Deployment, ReplicaSet or ReplicationController."""
    yield from surprising_name(thing, _IN_PODS)
    yield from pods.template("spec.template", part(thing, "spec", "template"))


def update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a changed Deployment, ReplicaSet or ReplicationController."""
    if _changed(thing, old):
        yield from pods.template("spec.template", part(thing, "spec", "template"))


def daemon_set(thing: JSON) -> Iterator[str]:
    """Warn about a new DaemonSet."""
    yield from pods.template("spec.template", part(thing, "spec", "template"))


def daemon_set_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a DaemonSet whose template changed."""
    counts = [part(one, "metadata", "annotations").get(TEMPLATE_GENERATION) for one in (thing, old)]
    if counts[0] != counts[1]:
        yield from daemon_set(thing)


def stateful_set(thing: JSON) -> Iterator[str]:
    """Warn about a new StatefulSet."""
    yield from pods.template("spec.template", part(thing, "spec", "template"))
    yield from _stateful(thing, "")


def stateful_set_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a changed StatefulSet."""
    if _changed(thing, old):
        yield from pods.template("spec.template", part(thing, "spec", "template"))
    yield from _stateful(thing, ".Spec")  # as upstream spells it in updates


def _stateful(thing: JSON, suffix: str) -> Iterator[str]:
    spec = part(thing, "spec")
    for index, claim in enumerate(items(spec, "volumeClaimTemplates")):
        yield from claim_spec(f"spec.volumeClaimTemplates[{index}]{suffix}", part(claim, "spec"))
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        yield _HISTORY


def stored_template(thing: JSON) -> Iterator[str]:
    """Warn about a new PodTemplate."""
    yield from pods.template("template", part(thing, "template"))


def stored_template_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a changed PodTemplate."""
    if _changed(thing, old):
        yield from stored_template(thing)


def job(thing: JSON) -> Iterator[str]:
    """Warn about a new Job."""
    yield from surprising_name(thing, _IN_PODS)
    yield from _job_spec("spec", part(thing, "spec"))


def job_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a changed Job."""
    if _changed(thing, old):
        yield from _job_spec("spec", part(thing, "spec"))


def cron_job(thing: JSON) -> Iterator[str]:
    """Warn about a new CronJob."""
    yield from surprising_name(thing, _IN_PODS)
    yield from _job_spec("spec.jobTemplate.spec", part(thing, "spec", "jobTemplate", "spec"))


def cron_job_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a changed CronJob; a time zone in a new one's schedule is refused."""
    if _changed(thing, old):
        yield from _job_spec("spec.jobTemplate.spec", part(thing, "spec", "jobTemplate", "spec"))
    if "TZ" in part(thing, "spec").get("schedule", ""):
        yield (
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )


def _job_spec(path: str, spec: JSON) -> Iterator[str]:
    if (
        spec.get("completionMode") == "Indexed"
        and (spec.get("completions") or 0) > _COMPLETIONS_SOFT_MAX
        and (spec.get("parallelism") or 0) > _PARALLELISM_SOFT_MAX
    ):
        yield (
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism "
            "higher than 10^4, Kubernetes might not be able to track completedIndexes when a big "
            "number of indexes fail"
        )
    yield from pods.template(f"{path}.template", part(spec, "template"))
