"""Jobs that count failures for each index apart (`backoffLimitPerIndex`).

How often an index has failed is told by an annotation of its newest pod, so a pod that has failed is kept until its
successor exists and carries the number on.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from kubelite.api.kinds.batch import Job, PodFailurePolicyRule
from kubelite.api.kinds.core.pods import Pod
from kubelite.control import indexes
from kubelite.control.indexes import IndexSet

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"

RuleOf = Callable[[Pod], PodFailurePolicyRule | None]


def index_of(pod: Pod) -> int:
    """Return a pod's completion index; -1 for none."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if indexes.is_index(text) else -1


def counts_each_index(job: Job) -> bool:
    """Tell whether the job has a limit of failures for each index."""
    return job.spec.completionMode == "Indexed" and job.spec.backoffLimitPerIndex is not None


def failed_indexes(job: Job, failed_pods: Iterable[Pod], rule_of: RuleOf) -> IndexSet:
    """Return the indexes that are given up; `failed_pods` are those that are not yet counted."""
    failed: set[int] = set()
    limit = job.spec.backoffLimitPerIndex or 0
    for pod in failed_pods:
        if index_of(pod) not in range(job.spec.completions or 0):
            continue
        rule = rule_of(pod)
        ignored = rule is not None and rule.action == "Ignore"
        given_up = rule is not None and rule.action == "FailIndex"
        if given_up or (not ignored and _number(pod, FAILURES) >= limit):
            failed.add(index_of(pod))
    return indexes.parse(job.status.failedIndexes) | IndexSet.of(failed)


def awaiting_successors(
    job: Job, failed_pods: Iterable[Pod], settled: IndexSet, ended_at: Callable[[Pod], datetime]
) -> dict[int, Pod]:
    """Return the newest failed pod of each index that gets another; `settled` indexes have one, or need none."""
    last: dict[int, Pod] = {}
    for pod in failed_pods:
        index = index_of(pod)
        if index in settled or index not in range(job.spec.completions or 0):
            continue
        known = last.get(index)
        if known is None or (failures(known), ended_at(known)) <= (failures(pod), ended_at(pod)):
            last[index] = pod
    return last


def failures(pod: Pod) -> int:
    """Return how many pods of this index had failed before this one, whether they count or not."""
    return _number(pod, FAILURES) + _number(pod, IGNORED_FAILURES)


def annotations_of(replaced: Pod | None, rule_of: RuleOf) -> Mapping[str, str]:
    """Return what a new pod says about the failures of its index."""
    if replaced is None:
        return {FAILURES: "0"}
    rule = rule_of(replaced)
    ignored = rule is not None and rule.action == "Ignore"
    counted = _number(replaced, FAILURES) + (not ignored)
    not_counted = _number(replaced, IGNORED_FAILURES) + ignored
    more = {IGNORED_FAILURES: str(not_counted)} if not_counted else {}
    return {FAILURES: str(counted), **more}


def _number(pod: Pod, annotation: str) -> int:
    text = pod.metadata.annotations.get(annotation, "")
    return int(text) if indexes.is_index(text) else 0
