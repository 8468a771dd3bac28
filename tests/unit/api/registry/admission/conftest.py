"""Lets a test ask one plugin about one write."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.errors import APIError
from kubelite.api.registry.admission.request import (
    AdmissionRequest,
    Mutating,
    Validating,
    Verb,
)
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.options import WriteOptions

TABLE = builtin_table()
ANNA = Caller("anna", ("system:authenticated",))


class Asked:
    """What came of a write."""

    def __init__(self, request: AdmissionRequest, error: APIError | None) -> None:
        self.request = request
        self.error = error

    @property
    def item(self) -> dict[str, Any]:
        assert self.error is None, self.error.message
        assert self.request.object is not None
        return self.request.object

    @property
    def refusal(self) -> str:
        assert self.error is not None
        return self.error.message


Ask = Callable[..., Any]


async def ask(
    plugin: Mutating | Validating,
    path: str,
    item: dict[str, Any] | None = None,
    *,
    old: dict[str, Any] | None = None,
    name: str = "",
    namespace: str = "shop",
    caller: Caller = ANNA,
    verb: Verb | None = None,
) -> Asked:
    """Ask about `path`: ``pods``, ``pods/status`` or ``ingresses.networking.k8s.io``."""
    plural, _, subresource = path.partition("/")
    plural, _, group = plural.partition(".")
    resource = next(row for row in TABLE.all() if (row.plural, row.group) == (plural, group))
    operation = verb or (Verb.CREATE if old is None else Verb.UPDATE)
    if item is not None:
        item = copy.deepcopy(item)
        item.setdefault("metadata", {})
        name = name or item["metadata"].get("name", "")
    elif old is not None:
        operation, name = Verb.DELETE, name or old["metadata"].get("name", "")
    request = AdmissionRequest(
        allowed=Allowed(
            caller,
            Attributes(
                operation.value.lower(),
                group,
                resource.version,
                plural,
                subresource,
                namespace if resource.namespaced else "",
                name,
            ),
        ),
        operation=operation,
        resource=resource,
        item=item,
        old=old,
        options=WriteOptions(),
    )
    try:
        if isinstance(plugin, Mutating):
            await plugin.mutate(request)
        if isinstance(plugin, Validating):
            await plugin.validate(request)
    except APIError as error:
        return Asked(request, error)
    return Asked(request, None)


@pytest.fixture(name="ask")
def _ask() -> Ask:
    return ask
