"""A ValidatingAdmissionPolicy whose expressions are compiled, and its judgement of one request."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from kubelite.api.kinds.admissionregistration import ValidatingAdmissionPolicy
from kubelite.api.machinery.admission_expressions import (
    CONDITION,
    TEXT,
    TEXT_OR_NULL,
    Compiled,
    Composition,
    type_text,
)
from kubelite.api.registry.admission.policies.environment import Inputs
from kubelite.api.registry.admission.policies.evaluation import (
    POLICY_COST,
    ConditionsFailed,
    Meter,
    OutOfBudget,
    Phase,
    conditions_hold,
)
from kubelite.cel.values import EvaluationFailed, Value, type_of

INVALID: Final = "Invalid"
MESSAGE_BYTES_MAX: Final = (
    5 * 1024
)  # of what a messageExpression results in; a longer one counts as none
ANNOTATION_BYTES_MAX: Final = 10 * 1024  # of an audit annotation, which is cut


class Rule(Struct, frozen=True):
    """A validation."""

    condition: Compiled
    message: str  # "": none
    message_expression: Compiled | None
    reason: str


class Annotation(Struct, frozen=True):
    """An audit annotation."""

    key: str
    value: Compiled


class Denial(Struct, frozen=True):
    """Why a validation does not let a request pass; `index` is its place in the policy."""

    index: int
    message: str
    reason: str = INVALID


class Judgement(Struct, frozen=True):
    """What a policy says about a request."""

    denials: Sequence[Denial] = ()
    annotations: Sequence[tuple[str, str]] = ()
    failures: Sequence[
        str
    ] = ()  # of audit annotations, which refuse the request whatever the binding's actions
    ignored: Sequence[str] = ()  # errors of validations that let the request pass all the same
    condition_errors: int = 0  # match conditions without a value


class Validator(Struct, frozen=True, eq=False):
    """The compiled expressions of a policy."""

    variables: Mapping[str, Compiled]
    conditions: Sequence[Compiled]
    rules: Sequence[Rule]
    annotations: Sequence[Annotation]
    is_ignored: bool  # a failure is

    def judge(self, meter: Meter, inputs: Inputs) -> Judgement:
        """Return what the policy says about a request with one params object."""
        failed: list[str] = []
        try:
            if not conditions_hold(
                meter,
                inputs,
                self.variables,
                self.conditions,
                is_ignored=self.is_ignored,
                failed=failed,
            ):
                return Judgement(condition_errors=len(failed))
            denials, ignored = self._denials(meter, inputs)
            annotations, failures = self._annotate(meter, inputs)
        except (ConditionsFailed, OutOfBudget) as error:
            text, errors = str(error), len(failed)
            if self.is_ignored:
                return Judgement(ignored=(text,), condition_errors=errors)
            return Judgement((Denial(0, text),), condition_errors=errors)
        return Judgement(denials, annotations, failures, ignored)

    def _denials(self, meter: Meter, inputs: Inputs) -> tuple[Sequence[Denial], Sequence[str]]:
        """Return what denies the request, and the errors that are ignored."""
        phase = Phase(meter, inputs, self.variables, POLICY_COST)
        values = [phase.evaluate(rule.condition) for rule in self.rules]
        if all(value is True for value in values):  # no message is needed
            return (), ()
        try:
            messages = self._messages(meter, inputs, phase.budget)
        except OutOfBudget as error:
            return self._failed(values, f"failed messageExpression: {error}")
        denials, ignored = [], []
        for index, (rule, value, message) in enumerate(
            zip(self.rules, values, messages, strict=True)
        ):
            if isinstance(value, EvaluationFailed):
                if self.is_ignored:
                    ignored.append(value.text)
                else:
                    denials.append(Denial(index, value.text))
            elif value is not True:
                denials.append(Denial(index, message, rule.reason))
        return denials, ignored

    def _failed(self, values: Sequence[Value], text: str) -> tuple[Sequence[Denial], Sequence[str]]:
        texts = [value.text if isinstance(value, EvaluationFailed) else text for value in values]
        if self.is_ignored:
            return (), texts
        return [Denial(index, each) for index, each in enumerate(texts)], ()

    def _messages(self, meter: Meter, inputs: Inputs, budget: int) -> Sequence[str]:
        phase = Phase(meter, inputs, self.variables, budget, has_authorizer=False)
        return [_message(rule, phase) for rule in self.rules]

    def _annotate(
        self, meter: Meter, inputs: Inputs
    ) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        if not self.annotations:
            return (), ()
        phase = Phase(meter, inputs, self.variables, POLICY_COST, has_authorizer=False)
        found: list[tuple[str, str]] = []
        failures: list[str] = []
        for annotation in self.annotations:
            value = phase.evaluate(annotation.value)
            if isinstance(value, EvaluationFailed):
                if not self.is_ignored:
                    failures.append(value.text)
            elif isinstance(value, str):
                if text := value.strip():
                    found.append((annotation.key, cut(text, ANNOTATION_BYTES_MAX)))
            elif value is not None:
                failures.append(
                    f"valueExpression '{annotation.value.text}' resulted in unsupported return type: "
                    f"{type_text(type_of(value))}. Return type must be either string or null."
                )
        return found, failures


def _message(rule: Rule, phase: Phase) -> str:
    """Return what is said if a validation does not hold."""
    if rule.message_expression is not None:
        value = phase.evaluate(rule.message_expression)
        text = value.strip() if isinstance(value, str) else ""
        if text and "\n" not in text and len(text.encode()) <= MESSAGE_BYTES_MAX:
            return text
    return rule.message or f"failed expression: {rule.condition.text.strip()}"


def cut(text: str, size: int) -> str:
    """Return the beginning of a text, of at most so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


def compile_policy(policy: ValidatingAdmissionPolicy) -> Validator:
    """Compile the expressions of a policy; one that does not compile fails when it is evaluated."""
    spec = policy.spec
    composition = Composition(has_params=spec.paramKind is not None)
    composition.add_variables((one.name, one.expression) for one in spec.variables)
    return Validator(
        composition.variables,
        [composition.compile(one.expression, CONDITION) for one in spec.matchConditions],
        [
            Rule(
                composition.compile(one.expression, CONDITION),
                one.message.strip(),
                composition.compile(one.messageExpression, TEXT, has_authorizer=False)
                if one.messageExpression
                else None,
                one.reason or INVALID,
            )
            for one in spec.validations
        ],
        [
            Annotation(one.key, composition.compile(one.valueExpression, TEXT_OR_NULL))
            for one in spec.auditAnnotations
        ],
        is_ignored=spec.failurePolicy == "Ignore",
    )
