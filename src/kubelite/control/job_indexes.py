"""Jobs that count failures per index (`backoffLimitPerIndex`).

An annotation of the index's newest pod holds the number of failures, so a failed pod is kept until its successor
exists and carries the number on.
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
    """Return a pod's completion index; -1 if it has none."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if indexes.is_index(text) else -1


def counts_each_index(job: Job) -> bool:
    """Return whether the job has a limit of failures per index."""
    return job.spec.completionMode == "Indexed" and job.spec.backoffLimitPerIndex is not None


def failed_indexes(job: Job, failed_pods: Iterable[Pod], rule_of: RuleOf) -> IndexSet:
    """Return all failed indexes of the job; `failed_pods` are the failed pods that are not yet counted."""
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
    """Return by index the newest failed pod that gets a successor; `settled` indexes have one, or need none."""
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
    """Return how many pods of this index failed before this one, ignored failures included."""
    return _number(pod, FAILURES) + _number(pod, IGNORED_FAILURES)


def annotations_of(replaced: Pod | None, rule_of: RuleOf) -> Mapping[str, str]:
    """Return the annotations with the failure counts of a new pod, which follows `replaced` (None: it is the first)."""
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
