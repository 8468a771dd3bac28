"""Evaluates the expressions of policies within their budgets, and off the loop where that takes long.

An evaluation begins on the loop with a small allowance for the whole request. One that needs more is begun again in the
worker thread: expressions have no effects. Numbers and texts are those of Kubernetes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from kubelite.api.machinery.admission_expressions import VARIABLES, Compiled
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.admission.policies.environment import Decisions, Inputs, Undecided
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.objects import encode
from kubelite.cel.frame import CostExceeded
from kubelite.cel.values import EvaluationFailed, Value
from kubelite.limits import EXPRESSIONS_ON_LOOP, INLINE_WORK
from kubelite.offload import Offload

T = TypeVar("T")
EXPRESSION_COST: Final = 1_000_000  # of one expression or variable
POLICY_COST: Final = 10_000_000  # of the validations or mutations of a policy, with one binding and one params object
CONDITIONS_COST: Final = 2_500_000  # of its match conditions
_CHARACTERS: Final = 64  # of a text that count as much as one value
_VALUE_BYTES: Final = 32  # of JSON, about one value


class OutOfBudget(Exception):
    """The expressions of a policy cost more than they may together."""

    def __init__(self) -> None:
        super().__init__(
            "validation failed due to running out of cost budget, no further validation rules will be run"
        )


class _TakesLong(Exception):
    """The allowance on the loop is used up."""


class Meter:
    """The cost that may still be spent on the loop; None: it is not spent on the loop."""

    __slots__ = ("left",)

    def __init__(self, left: int | None) -> None:
        self.left = left

    def run(self, expression: Compiled, variables: Mapping[str, Value]) -> tuple[Value, int]:
        """Return value (or error) and cost of an expression, of which CostExceeded makes an error, too."""
        program = expression.program
        assert program is not None
        try:
            if self.left is None:
                evaluation = program.evaluate(variables, EXPRESSION_COST)
            else:
                evaluation = program.evaluate(variables, self.left, work=self.left)
        except CostExceeded as error:
            if self.left is not None:
                raise _TakesLong from error
            error.limit.reached()
            return EvaluationFailed(str(error)), EXPRESSION_COST + 1
        if self.left is not None:
            self.left -= evaluation.cost
        return evaluation.value, evaluation.cost


class Variables(dict[str, Value]):
    """The variables of a policy, each evaluated when an expression needs it first."""

    def __init__(self, expressions: Mapping[str, Compiled], phase: "Phase") -> None:
        super().__init__()
        self._expressions = expressions
        self._phase = phase
        self._failed: dict[str, str] = {}

    def __missing__(self, name: str) -> Value:
        expression = self._expressions[name]
        if name not in self._failed:
            value = self._phase.variable(name, expression)
            if not isinstance(value, EvaluationFailed):
                self[name] = value
                return value
            self._failed[name] = value.text
        raise EvaluationFailed(self._failed[name])

    def __contains__(self, name: object) -> bool:
        return name in self._expressions

    def __iter__(self) -> Iterator[str]:
        return iter(self._expressions)

    def __len__(self) -> int:
        return len(self._expressions)

    def get(self, name: str, default: Any = None) -> Value:
        """Return a variable, evaluated if necessary."""
        return self[name] if name in self._expressions else default

    def keys(self) -> Any:
        """Return the names of all variables."""
        return self._expressions.keys()

    def items(self) -> Any:
        """Return all variables, evaluated."""
        return [(name, self[name]) for name in self._expressions]


class Phase:
    """One pass over some expressions of a policy: its variables are evaluated anew, and it has a budget."""

    def __init__(
        self,
        meter: Meter,
        inputs: Inputs,
        variables: Mapping[str, Compiled],
        budget: int,
        *,
        has_authorizer: bool = True,
        has_namespace: bool = True,
    ) -> None:
        self._meter = meter
        self.budget = budget  # what is left of it
        self._composed = 0  # the cost of the variables that the present expression needed
        self._values = inputs.variables(has_authorizer=has_authorizer, has_namespace=has_namespace)
        self._values[VARIABLES] = Variables(variables, self)

    def evaluate(self, expression: Compiled) -> Value:
        """Return the value of an expression, or an EvaluationFailed worded as upstream; raises OutOfBudget."""
        if expression.program is None:
            return EvaluationFailed(f"compilation error: {expression.error}")
        self._composed = 0
        value, cost = self._meter.run(expression, self._values)
        self._spend(self._composed)
        self._spend(cost)
        if isinstance(value, EvaluationFailed):
            return EvaluationFailed(
                f"expression '{expression.text}' resulted in error: {value.text}"
            )
        return value

    def _spend(self, cost: int) -> None:
        if cost > self.budget:
            raise OutOfBudget
        self.budget -= cost

    def variable(self, name: str, expression: Compiled) -> Value:
        """Return the value of a variable, or an EvaluationFailed worded as upstream."""
        named = f"composited variable {quoted(name)} fails to"
        if expression.program is None:
            return EvaluationFailed(f"{named} compile: {expression.error}")
        value, cost = self._meter.run(expression, self._values)
        self._composed += cost
        if isinstance(value, EvaluationFailed):
            return EvaluationFailed(f"{named} evaluate: {value.text}")
        return value


class ConditionsFailed(Exception):
    """Match conditions have no value, and none of them is false."""


def conditions_hold(
    meter: Meter,
    inputs: Inputs,
    variables: Mapping[str, Compiled],
    conditions: Sequence[Compiled],
    *,
    is_ignored: bool,
    failed: list[str] | None = None,
) -> bool:
    """Return whether all match conditions hold; raises ConditionsFailed, unless failures are ignored.

    `failed` is filled with the errors of those that have no value.
    """
    if not conditions:
        return True
    phase = Phase(meter, inputs, variables, CONDITIONS_COST, has_namespace=False)
    errors: list[str] = []
    values: list[Value] = []
    try:
        values = [phase.evaluate(condition) for condition in conditions]
    except OutOfBudget as error:
        errors.append(str(error))
    if any(value is False for value in values):
        return False
    errors += [value.text for value in values if isinstance(value, EvaluationFailed)]
    if failed is not None:
        failed[:] = errors
    if errors and not is_ignored:
        errors = list(dict.fromkeys(errors))
        raise ConditionsFailed(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return not errors


class Evaluator:
    """Runs the evaluations of one request: on the loop while its allowance lasts, then in the worker thread."""

    def __init__(self, offload: Offload, decisions: Decisions, *, size: int = 0) -> None:
        """`size` is that of the objects as `size_of_request` counts it; large ones are not looked at on the loop."""
        self._offload = offload
        self._decisions = decisions
        self._meter = Meter(EXPRESSIONS_ON_LOOP.value - size)

    async def run(self, work: Callable[[Meter], T]) -> T:
        """Return what `work` returns, which evaluates with the meter it is given and may be begun again."""
        meter = self._meter
        assert meter.left is not None
        if meter.left > 0:
            try:
                return work(meter)
            except _TakesLong:
                meter.left = 0
                EXPRESSIONS_ON_LOOP.reached()
        return await self._off_loop(work)

    async def _off_loop(self, work: Callable[[Meter], T]) -> T:
        while True:
            self._decisions.is_on_loop = False
            try:
                return await self._offload.run(INLINE_WORK.value + 1, lambda: work(Meter(None)))
            except Undecided as undecided:
                self._decisions.is_on_loop = True
                self._decisions.decide(undecided.caller, undecided.attributes)
            finally:
                self._decisions.is_on_loop = True


def size_of_request(request: AdmissionRequest) -> int:
    """Return about how many values there are in the objects of a request, by the length of their JSON."""
    items = (item for item in (request.object, request.old) if item is not None)
    return sum(len(encode(item)) for item in items) // _VALUE_BYTES


def size_of_objects(*items: Any, most: int) -> int:
    """Return how many values there are in objects, long texts counted by their length; it stops past `most`."""
    count = 0
    pending = list(items)
    while pending and count <= most:
        item = pending.pop()
        count += 1
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str):
            count += len(item) // _CHARACTERS
    return count
