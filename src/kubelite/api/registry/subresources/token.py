"""serviceaccounts/token: issues a token of a service account."""

from typing import Any

import msgspec

from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.defaults.singles import default_token_request
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.answers import Written
from kubelite.api.registry.bodies import check_kind, metadata_of, shape
from kubelite.api.registry.handlers import Services
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.routes import not_allowed
from kubelite.api.registry.target import Target

FORM = GoShape(TokenRequest, default_token_request)


async def issue_token(
    services: Services, target: Target, body: dict[str, Any], options: WriteOptions
) -> Written:
    """Issue a token; raises NotFound, Conflict, Invalid, BadRequest, and Forbidden by admission."""
    if services.issue is None:
        raise not_allowed(target.resource)
    check_kind(TokenRequest.gvk, body)
    warnings = shape(FORM, body, options)
    metadata_of(body)
    admitted = AdmissionRequest(
        caller=target.allowed.caller,
        attributes=target.allowed.attributes,
        operation=Verb.CREATE,
        served=target.resource,
        resource=target.canonical,
        item=body,
        old=None,
        options=options,
        dry_run=options.dry_run,
    )
    admission = services.writer.admission
    await admission.mutate(admitted)
    await admission.validate(admitted)
    request = msgspec.convert(body, TokenRequest)
    answer = services.issue(target.namespace, target.name, request)
    return Written(encode(to_wire(answer)), created=True, warnings=(*warnings, *admitted.warnings))
