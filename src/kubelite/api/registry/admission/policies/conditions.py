"""Decides by match conditions whether a webhook is asked; imported where one has any."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.machinery.admission_expressions import (
    CONDITION,
    Compiled,
    compiled,
    environment,
)
from kubelite.api.registry.admission.admission_metrics import (
    WEBHOOK,
    excluded,
    now,
    observe_conditions,
)
from kubelite.api.registry.admission.policies.definitions import COMPILING_COST
from kubelite.api.registry.admission.policies.environment import Decisions, Versions, inputs_of
from kubelite.api.registry.admission.policies.evaluation import (
    ConditionsFailed,
    Evaluator,
    Meter,
    conditions_hold,
    size_of_request,
)
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.admission.review import Meant
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

_SURROUNDINGS: Final = environment(has_params=False, has_authorizer=True)


class MatchConditions(Struct, frozen=True):
    """The match conditions of a webhook: expressions, its name, its step, and whether failures are ignored."""

    texts: Sequence[str]
    owner: str
    step: str
    is_ignored: bool


async def holds(
    conditions: MatchConditions,
    request: AdmissionRequest,
    meant: Meant,
    resources: ResourceTable,
    authorizer: UnionAuthorizer,
    offload: Offload,
) -> bool:
    """Return whether all conditions of a webhook hold.

    Raises:
        Forbidden: One has no value, and the webhook's failures are not ignored.
    """

    def compiled_all() -> list[Compiled]:
        # The environment keeps its programs, so this costs little but for the first time.
        return [compiled(_SURROUNDINGS, text, CONDITION) for text in conditions.texts]

    cost = sum(map(len, conditions.texts)) * COMPILING_COST
    programs = await offload.run(cost, compiled_all)
    decisions = Decisions(authorizer, request)
    objects = await Versions(request, resources, offload).objects(meant)
    inputs = inputs_of(request, meant, objects, None, decisions)
    evaluator = Evaluator(offload, decisions, size=size_of_request(request))
    operation, began = request.operation.value, now()
    failed: list[str] = []

    def evaluate(meter: Meter) -> bool:
        return conditions_hold(
            meter, inputs, {}, programs, is_ignored=conditions.is_ignored, failed=failed
        )

    try:
        found = await evaluator.run(evaluate)
    except ConditionsFailed as error:
        raise forbidden(request, str(error)) from error
    finally:
        seconds = now() - began
        observe_conditions(
            conditions.owner,
            WEBHOOK,
            conditions.step,
            operation,
            errors=len(failed),
            seconds=seconds,
        )
    if not found:
        excluded(conditions.owner, operation, conditions.step)
    return found
