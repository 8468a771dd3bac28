"""Metrics of webhooks and policies, named, labelled and bucketed as those of Kubernetes 1.36.

They exist once a webhook or a policy was asked: import the module there. Names come from users, so only so many have
labels of their own; the others share the label `other`.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from kubelite.api.errors import APIError
from kubelite.limits import ADMISSION_METRICS
from kubelite.metrics import REGISTRY

ADMIT, VALIDATING = "admit", "validating"  # steps of webhooks
VALIDATE: Final = "validate"  # step of policies
WEBHOOK, POLICY = "webhook", "policy"  # kinds of what has match conditions
ALLOW, DENY, AUDIT, WARN = "allow", "deny", "audit", "warn"  # what a failed validation leads to
NO_ERROR, INVALID = "no_error", "invalid_error"
COMPILE, OUT_OF_BUDGET = "compile_error", "out_of_budget"
CALLING, INTERNAL = "calling_webhook_error", "apiserver_internal_error"
OTHER: Final = "other"
UNAVAILABLE: Final = 503  # of a webhook that gives no answer, or none that can be read
_CODE_MAX: Final = 600
_BUDGET: Final = "validation failed due to running out of cost budget"
_CHECKS: Final = (0.0000005, 0.001, 0.01, 0.1, 1.0)

_webhook_seconds: Final = REGISTRY.histogram(
    "apiserver_admission_webhook_admission_duration_seconds",
    "Latency of admission webhooks by name, type, operation and whether they rejected.",
    ("name", "type", "operation", "rejected"),
    (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25),
)
_webhook_rejections: Final = REGISTRY.counter(
    "apiserver_admission_webhook_rejection_count",
    "Rejections by admission webhooks, by what went wrong (no_error: the webhook decided so) and code.",
    ("name", "type", "operation", "error_type", "rejection_code"),
)
_webhook_fail_open: Final = REGISTRY.counter(
    "apiserver_admission_webhook_fail_open_count",
    "Failed calls of admission webhooks whose failures are ignored.",
    ("name", "type"),
)
_webhook_requests: Final = REGISTRY.counter(
    "apiserver_admission_webhook_request_total",
    "Calls of admission webhooks by code and whether they rejected.",
    ("name", "type", "operation", "code", "rejected"),
)
_condition_errors: Final = REGISTRY.counter(
    "apiserver_admission_match_condition_evaluation_errors_total",
    "Match conditions that have no value, by the webhook or policy that has them.",
    ("name", "kind", "type", "operation"),
)
_condition_exclusions: Final = REGISTRY.counter(
    "apiserver_admission_match_condition_exclusions_total",
    "Requests that match conditions kept from a webhook.",
    ("name", "kind", "type", "operation"),
)
_condition_seconds: Final = REGISTRY.histogram(
    "apiserver_admission_match_condition_evaluation_seconds",
    "Time to evaluate the match conditions of a webhook.",
    ("name", "kind", "type", "operation"),
    (0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25),
)
_validating_checks: Final = REGISTRY.counter(
    "apiserver_validating_admission_policy_check_total",
    "Validations that did not hold or had no value, by policy, binding and what that led to.",
    ("policy", "policy_binding", "error_type", "enforcement_action"),
)
_validating_seconds: Final = REGISTRY.histogram(
    "apiserver_validating_admission_policy_check_duration_seconds",
    "Time in which a policy was evaluated for a request, for each validation that did not hold or had no value.",
    ("policy", "policy_binding", "error_type", "enforcement_action"),
    _CHECKS,
)
_mutating_checks: Final = REGISTRY.counter(
    "apiserver_mutating_admission_policy_check_total",
    "Mutations by policy, binding and what went wrong.",
    ("policy", "policy_binding", "error_type"),
)
_mutating_seconds: Final = REGISTRY.histogram(
    "apiserver_mutating_admission_policy_check_duration_seconds",
    "Time in which a mutation was evaluated and applied.",
    ("policy", "policy_binding", "error_type"),
    _CHECKS,
)

_named: set[Sequence[str]] = set()


def label(*names: str) -> Sequence[str]:
    """Return the labels for what has these names; past `limits.ADMISSION_METRICS` they are `other`."""
    if names not in _named:
        if len(_named) >= ADMISSION_METRICS.value:
            ADMISSION_METRICS.reached()
            return (OTHER,) * len(names)
        _named.add(names)
    return names


def now() -> float:
    """Return a time in seconds, for durations."""
    return asyncio.get_running_loop().time()


class WebhookCall:
    """One call of a webhook: how it ends is told once."""

    def __init__(self, name: str, step: str, operation: str) -> None:
        self._labels = (*label(name), step, operation)
        self._began = now()
        self._is_told = False

    def rejected(self, error_type: str, code: int) -> None:
        """The request is rejected, by the webhook or for want of its answer."""
        shown = str(min(code, _CODE_MAX))
        _webhook_rejections.labelled(*self._labels, error_type, shown).increase()
        self._ended(shown, "true")

    def failed_open(self, code: int) -> None:
        """The webhook gave no answer, which is ignored."""
        _webhook_fail_open.labelled(*self._labels[:2]).increase()
        self._ended(str(min(code, _CODE_MAX)), "false")

    def passed(self) -> None:
        """The request passed, unless something else was told."""
        if not self._is_told:
            self._ended("200", "false")

    def broke(self) -> None:
        """The server could not go on, unless something else was told."""
        if not self._is_told:
            self.rejected(INTERNAL, 0)

    def _ended(self, code: str, is_rejected: str) -> None:
        self._is_told = True
        _webhook_requests.labelled(*self._labels, code, is_rejected).increase()
        _webhook_seconds.labelled(*self._labels, is_rejected).observe(now() - self._began)


@contextmanager
def webhook_call(name: str, step: str, operation: str) -> Iterator[WebhookCall]:
    """Observe a call; an APIError for which nothing was told is the server's own."""
    call = WebhookCall(name, step, operation)
    try:
        yield call
    except APIError:
        call.broke()
        raise
    call.passed()


def observe_conditions(
    name: str, kind: str, step: str, operation: str, *, errors: int, seconds: float | None = None
) -> None:
    """Count the match conditions that had no value; `seconds` is how long all of them took, if that is known."""
    labels = (*label(name), kind, step, operation)
    if errors:
        _condition_errors.labelled(*labels).increase(errors)
    if seconds is not None:
        _condition_seconds.labelled(*labels).observe(seconds)


def excluded(name: str, operation: str, step: str) -> None:
    """Count a request that match conditions kept from a webhook."""
    _condition_exclusions.labelled(*label(name), WEBHOOK, step, operation).increase()


def error_type(message: str) -> str:
    """Return what kept a validation or mutation from its value, by the message about it."""
    if message.startswith("compilation"):
        return COMPILE
    return OUT_OF_BUDGET if message.startswith(_BUDGET) else INVALID


def validated(policy: str, binding: str, message: str, action: str, seconds: float) -> None:
    """Count a validation that did not hold or had no value, and what that led to."""
    labels = (*label(policy, binding), error_type(message), action)
    _validating_checks.labelled(*labels).increase()
    _validating_seconds.labelled(*labels).observe(seconds)


def mutated(policy: str, binding: str, message: str, seconds: float) -> None:
    """Count a mutation; a `message` says why it failed."""
    labels = (*label(policy, binding), error_type(message) if message else NO_ERROR)
    _mutating_checks.labelled(*labels).increase()
    _mutating_seconds.labelled(*labels).observe(seconds)
