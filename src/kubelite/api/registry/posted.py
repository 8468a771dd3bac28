"""Takes the bodies of requests that store nothing by themselves: reviews, tokens, bindings, evictions, connections."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.request import AdmissionRequest, Verb, passing_on_warnings
from kubelite.api.registry.bodies import check_kind, check_namespace, metadata_of, shape
from kubelite.api.registry.handlers import Services
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.target import Target

JSON = dict[str, Any]


async def take(
    services: Services, target: Target, body: JSON, form: Shape, options: WriteOptions
) -> Sequence[str]:
    """Give a posted body its form, and have admission change and judge it; return the warnings. Changes `body`.

    Raises BadRequest for a body of another kind, and what admission rejects with.
    """
    assert form.schema.gvk is not None
    check_kind(form.schema.gvk, body)
    check_namespace(target, metadata_of(body))
    cost = form.cost(options.body_bytes)
    warnings = await services.writer.offload.run(cost, lambda: shape(form, body, options))
    request = _request(target, Verb.CREATE, body, form, options)
    with passing_on_warnings(request):
        try:
            await services.writer.admission.mutate(request)
            await services.writer.admission.validate(request)
        finally:
            for reservation in request.reservations:  # nothing of it is stored
                reservation.settled(committed=False)
    return (*warnings, *request.warnings)


async def admit_connection(admission: Admission, target: Target, item: JSON, form: Shape) -> None:
    """Have admission judge a connection, such as an exec; `item` are its options as an object of their kind.

    Raises what admission rejects with.
    """
    request = _request(target, Verb.CONNECT, item, form, WriteOptions())
    with passing_on_warnings(request):
        await admission.connect(request)


def _request(
    target: Target, operation: Verb, body: JSON, form: Shape, options: WriteOptions
) -> AdmissionRequest:
    return AdmissionRequest(
        allowed=target.allowed,
        operation=operation,
        served=target.resource,
        resource=target.canonical,
        item=body,
        old=None,
        options=options,
        dry_run=options.dry_run,
        form=form,
    )
