"""Resources to describe, shared by the tests of both OpenAPI versions."""

from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.schema import Schema, compile_struct

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
    schema=Schema(
        type="object",
        definition="com.example.v1.Cat",
        gvk=CAT,
        fields={
            "spec": Schema(
                type="object",
                required=("lives",),
                fields={
                    "lives": Schema(
                        type="integer", format="int32", default=9, description="How many remain."
                    ),
                    "mood": Schema(type="string", enum=("good", "bad"), nullable=True),
                    "rest": Schema(type="object", preserve=True),
                },
            )
        },
    ),
)
