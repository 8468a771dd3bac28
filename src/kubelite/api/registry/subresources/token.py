"""serviceaccounts/token: makes a token of a service account."""

from collections.abc import Callable
from typing import Any

import msgspec

from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.answers import Written
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.writing import Target, metadata_of, shape

Issue = Callable[[str, str, TokenRequest], TokenRequest]  # namespace, name, request


class TokenPost:
    """Answers token requests with what `issue` makes."""

    def __init__(self, issue: Issue) -> None:
        self._issue = issue

    async def post(self, target: Target, body: dict[str, Any], options: WriteOptions) -> Written:
        """Make a token; raises NotFound, Conflict, Invalid and BadRequest."""
        warnings = shape(compile_struct(TokenRequest), body, options)
        metadata_of(body)
        request = msgspec.convert(body, TokenRequest)
        answer = self._issue(target.namespace, target.name, request)
        return Written(encode(to_wire(answer)), created=True, warnings=warnings)
