"""serviceaccounts/token: issues a token of a service account."""

from collections.abc import Callable
from typing import Any

import msgspec

from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.admission import Admission, AdmissionRequest, Verb
from kubelite.api.registry.answers import Written
from kubelite.api.registry.bodies import check_kind, metadata_of, shape
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.target import Target

Issue = Callable[[str, str, TokenRequest], TokenRequest]  # namespace, name, request


class TokenPost:
    """Answers a POST of a TokenRequest by calling `issue`."""

    def __init__(self, issue: Issue, admission: Admission) -> None:
        self._issue = issue
        self._admission = admission

    async def post(self, target: Target, body: dict[str, Any], options: WriteOptions) -> Written:
        """Issue a token; raises NotFound, Conflict, Invalid, BadRequest, and Forbidden by admission."""
        check_kind(TokenRequest.gvk, body)
        warnings = shape(compile_struct(TokenRequest), body, options)
        metadata_of(body)
        admitted = AdmissionRequest(
            caller=target.allowed.caller,
            attributes=target.allowed.attributes,
            operation=Verb.CREATE,
            resource=target.canonical,
            item=body,
            old=None,
            options=options,
            dry_run=options.dry_run,
        )
        await self._admission.mutate(admitted)
        await self._admission.validate(admitted)
        request = msgspec.convert(body, TokenRequest)
        answer = self._issue(target.namespace, target.name, request)
        return Written(
            encode(to_wire(answer)), created=True, warnings=(*warnings, *admitted.warnings)
        )
