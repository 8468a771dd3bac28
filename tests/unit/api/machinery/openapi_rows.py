"""Resources to describe, shared by the tests of both OpenAPI versions."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.openapi_pages import ServedPage, discovery_pages
from kubelite.api.machinery.openapi_v2 import AS_JSON, AS_PROTOBUF, Form, encoded_part, joined
from kubelite.api.machinery.schema import compile_struct

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CHANGE = ("get", "patch", "update")

DEPLOYMENTS = Served(
    group="apps",
    version="v1",
    plural="deployments",
    kind=Deployment.gvk,
    namespaced=True,
    verbs=VERBS,
    schema=compile_struct(Deployment),
    subresources=(
        ServedSubresource("status", CHANGE, Deployment.gvk, compile_struct(Deployment)),
        ServedSubresource("scale", CHANGE, Scale.gvk, compile_struct(Scale)),
    ),
)
PODS = Served(
    group="",
    version="v1",
    plural="pods",
    kind=Pod.gvk,
    namespaced=True,
    verbs=VERBS,
    schema=compile_struct(Pod),
    subresources=(ServedSubresource("log", ("get",), Pod.gvk),),
)
CAT = GroupVersionKind("example.com", "v1", "Cat")
CATS = Served(
    group="example.com",
    version="v1",
    plural="cats",
    kind=CAT,
    namespaced=False,
    verbs=VERBS,
    schema=CustomType(
        kind=CAT,
        list_kind="CatList",
        selectable_fields=("spec.mood",),
        source={
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "required": ["lives"],
                    "properties": {
                        "lives": {
                            "description": "How many remain.",
                            "type": "integer",
                            "format": "int32",
                            "default": 9,
                        },
                        "mood": {"type": "string", "enum": ["good", "bad"], "nullable": True},
                        "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            },
        },
    ),
)


def custom_row(plural: str, group: str = "example.com", words: str = "") -> Served:
    """Return a custom resource of its own, with a schema that has a description."""
    kind = GroupVersionKind(group, "v1", plural.title())
    schema = {"type": "object", "description": words}
    return Served(
        group=group,
        version="v1",
        plural=plural,
        kind=kind,
        namespaced=True,
        verbs=VERBS,
        schema=CustomType(kind=kind, list_kind=f"{kind.kind}List", source=schema),
    )


def document(rows: Sequence[Served], pages: Sequence[ServedPage] = ()) -> dict[str, Any]:
    """Return the document of version 2 of some resources and pages, built in one part."""
    made: dict[str, Any] = msgspec.json.decode(encoded_document(rows, pages, AS_JSON))
    return made


def encoded_document(
    rows: Sequence[Served], pages: Sequence[ServedPage] = (), form: Form = AS_PROTOBUF
) -> bytes:
    """Return that document encoded."""
    return joined([encoded_part(rows, (*pages, *discovery_pages(rows)), form)], form)
