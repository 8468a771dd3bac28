"""Decides by match conditions whether a webhook is asked; imported where one has any."""

from collections.abc import Sequence
from typing import Final

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.machinery.admission_expressions import (
    CONDITION,
    Compiled,
    compiled,
    environment,
)
from kubelite.api.registry.admission.policies.definitions import COMPILING_COST
from kubelite.api.registry.admission.policies.environment import Decisions, Versions, inputs_of
from kubelite.api.registry.admission.policies.evaluation import (
    ConditionsFailed,
    Evaluator,
    conditions_hold,
    size_of_request,
)
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.admission.review import Meant
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

_SURROUNDINGS: Final = environment(has_params=False, has_authorizer=True)


async def holds(
    conditions: Sequence[str],
    request: AdmissionRequest,
    meant: Meant,
    resources: ResourceTable,
    authorizer: UnionAuthorizer,
    offload: Offload,
    *,
    is_ignored: bool,
) -> bool:
    """Return whether all conditions hold; raises Forbidden if one has no value, unless failures are ignored."""

    def compiled_all() -> list[Compiled]:
        # The environment keeps its programs, so this costs little but for the first time.
        return [compiled(_SURROUNDINGS, text, CONDITION) for text in conditions]

    cost = sum(map(len, conditions)) * COMPILING_COST
    programs = await offload.run(cost, compiled_all)
    decisions = Decisions(authorizer, request)
    objects = await Versions(request, resources, offload).objects(meant)
    inputs = inputs_of(request, meant, objects, None, decisions)
    evaluator = Evaluator(offload, decisions, size=size_of_request(request))
    try:
        return await evaluator.run(
            lambda meter: conditions_hold(meter, inputs, {}, programs, is_ignored=is_ignored)
        )
    except ConditionsFailed as error:
        raise forbidden(request, str(error)) from error
