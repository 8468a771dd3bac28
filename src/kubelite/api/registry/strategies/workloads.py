"""Workloads: their default propagation policy, and the labels and annotations that the server adds."""

from typing import Any

from kubelite.api.machinery.numbers import integer
from kubelite.api.registry.rules.workloads import TEMPLATE_GENERATION
from kubelite.api.registry.strategy import Strategy, WriteContext

_JOB_NAME = ("job-name", "batch.kubernetes.io/job-name")
_CONTROLLER_UID = ("controller-uid", "batch.kubernetes.io/controller-uid")

JSON = dict[str, Any]
JOB_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)


class DeploymentStrategy(Strategy):
    """The write hooks of Deployments."""

    def count(self, item: JSON, old: JSON) -> None:
        """Increment the generation for changes of annotations, too, since the controller copies them to ReplicaSets."""
        super().count(item, old)
        before, after = old["metadata"], item["metadata"]
        if after.get("annotations") != before.get("annotations"):
            after["generation"] = before.get("generation", 0) + 1


class JobStrategy(Strategy):
    """The write hooks of Jobs: the server generates the selector unless manualSelector is set."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set a selector for the Job's uid, and the template labels that match it."""
        super().prepare_create(item, context)
        spec = item.setdefault("spec", {})
        if spec.get("manualSelector"):
            return
        metadata = item["metadata"]
        template = spec.setdefault("template", {}).setdefault("metadata", {})
        labels = template.setdefault("labels", {})
        for name in _JOB_NAME:
            labels.setdefault(name, metadata.get("name", ""))
        for name in _CONTROLLER_UID:
            labels.setdefault(name, metadata["uid"])
        selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
        selector.setdefault(_CONTROLLER_UID[1], metadata["uid"])


class DaemonSetStrategy(Strategy):
    """The write hooks of DaemonSets: a deprecated annotation counts changes of the template."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set the annotation to 1."""
        super().prepare_create(item, context)
        item["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = "1"

    def count(self, item: JSON, old: JSON) -> None:
        """Increment the annotation for changes of the template, beside the generation."""
        super().count(item, old)
        before = old["metadata"].get("annotations", {}).get(TEMPLATE_GENERATION)
        if before is None:
            return
        changed = item["spec"].get("template") != old["spec"].get("template")
        number = integer(before)
        after = str(number + 1) if changed and number is not None else before
        item["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = after
