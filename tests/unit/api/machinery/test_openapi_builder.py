from typing import Any

from kubelite.api.machinery.openapi_builder import build
from kubelite.api.machinery.openapi_pages import SERVER
from kubelite.api.machinery.openapi_v2 import Swagger
from kubelite.api.machinery.openapi_v3 import OpenAPI
from unit.api.machinery.openapi_rows import DEPLOYMENTS, PODS

COMMON = (
    *("description", "operationId", "tags"),
    *("x-kubernetes-action", "x-kubernetes-group-version-kind"),
)


def test_both_dialects_describe_the_same_operations_and_types() -> None:
    old, new = Swagger(), OpenAPI()
    first = build([PODS, DEPLOYMENTS], SERVER, old)
    second = build([PODS, DEPLOYMENTS], SERVER, new)
    assert list(first) == list(second)
    assert list(old.definitions.schemas) == list(new.definitions.schemas)
    assert operations(first) == operations(second)


def operations(paths: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: operation.get(name) for name in COMMON} | {"codes": list(operation["responses"])}
        for item in paths.values()
        for method, operation in item.items()
        if method != "parameters"
    ]
