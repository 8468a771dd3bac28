"""serviceaccounts/token: issues a token of a service account."""

from typing import Any

import msgspec

from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.defaults.singles import default_token_request
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.answers import Written
from kubelite.api.registry.handlers import Services
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.posted import take
from kubelite.api.registry.routes import not_allowed
from kubelite.api.registry.target import Target

FORM = GoShape(TokenRequest, default_token_request)


async def issue_token(
    services: Services, target: Target, body: dict[str, Any], options: WriteOptions
) -> Written:
    """Issue a token; raises NotFound, Conflict, Invalid, BadRequest, and Forbidden by admission."""
    if services.issue is None:
        raise not_allowed(target.resource)
    warnings = await take(services, target, body, FORM, options)
    request = msgspec.convert(body, TokenRequest)
    answer = services.issue(target.namespace, target.name, request)
    return Written(encode(to_wire(answer)), created=True, warnings=tuple(warnings))
