"""Defaults of jobs and cron jobs."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.pods import default_template

Fields = dict[str, Any]

RETRIES = 6
UNLIMITED_RETRIES = 2**31 - 1  # the default if each index has a limit of its own


def default_job(job: Fields) -> None:
    """Set the defaults of a job; its labels default to the template's."""
    spec = job["spec"]
    default_job_spec(spec)
    if (labels := spec["template"]["metadata"].get("labels")) and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    has_limit_per_index = "backoffLimitPerIndex" in spec
    spec.setdefault("backoffLimit", UNLIMITED_RETRIES if has_limit_per_index else RETRIES)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    has_failure_policy = "podFailurePolicy" in spec
    spec.setdefault(
        "podReplacementPolicy", "Failed" if has_failure_policy else "TerminatingOrFailed"
    )
    spec.setdefault("manualSelector", False)


def default_job_spec(spec: Fields) -> None:
    """Set the defaults of a job's spec, also in the template of a cron job."""
    default_template(spec["template"])
    for rule in spec.get("podFailurePolicy", {}).get("rules") or ():
        for pattern in rule.get("onPodConditions", ()):
            if not pattern.get("status"):
                pattern["status"] = "True"


def default_cron_job(cron_job: Fields) -> None:
    """Set the defaults of a cron job."""
    spec = cron_job["spec"]
    default_job_spec(spec["jobTemplate"]["spec"])
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
