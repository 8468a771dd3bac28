import tomllib

import pytest

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind, Model
from kubelite.api.machinery.explanations import FOLDER, explanation
from kubelite.api.machinery.openapi import Definitions
from kubelite.api.machinery.schema import compile_struct

CORE, META = "io.k8s.api.core.v1", "io.k8s.apimachinery.pkg.apis.meta.v1"
WRITTEN_MOST = [
    ("", "v1", "Pod"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "PersistentVolume"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "Namespace"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "ReplicaSet"),
    ("batch", "v1", "Job"),
    ("batch", "v1", "CronJob"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("storage.k8s.io", "v1", "StorageClass"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("", "v1", "Node"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
]


@pytest.mark.parametrize(
    ("definition", "field", "words"),
    [
        (f"{CORE}.Pod", "apiVersion", "APIVersion defines"),
        (f"{CORE}.Pod", "metadata", "Standard object's metadata"),
        (f"{META}.ObjectMeta", "creationTimestamp", "CreationTimestamp is a timestamp"),
    ],
)
def test_words_that_the_conformance_suite_looks_for(
    definition: str, field: str, words: str
) -> None:
    assert explanation(definition, field).startswith(words)


def test_a_type_speaks_for_its_fields() -> None:
    assert "How many pods are wanted" in explanation(
        "io.k8s.api.apps.v1.DeploymentSpec", "replicas"
    )


def test_types_with_the_same_fields_share_the_words() -> None:
    shared = explanation(f"{CORE}.Container", "image")
    assert explanation(f"{CORE}.EphemeralContainer", "image") == shared != ""


def test_what_means_the_same_everywhere() -> None:
    assert explanation("io.k8s.api.node.v1.RuntimeClass", "metadata")
    assert (
        explanation("io.k8s.api.apps.v1.DeploymentCondition", "status") == "True, False or Unknown."
    )
    assert explanation(f"{META}.Condition", "type").startswith("Which aspect")


def test_nothing_is_made_up() -> None:
    assert explanation("com.example.v1.Cat", "whiskers") == ""


def _all_types(type_: type[Model] = Model) -> list[type[Model]]:
    kinds()
    found = [one for each in type_.__subclasses__() for one in (each, *_all_types(each))]
    return [one for one in found if one.__name__ != "Kind"]


@pytest.mark.parametrize(
    "file",
    sorted(
        file.name
        for file in FOLDER.iterdir()
        if file.name not in {"everywhere.toml", "parameters.toml"}
    ),
)
def test_words_are_about_fields_that_exist(file: str) -> None:
    name = file.removesuffix(".toml").replace("_", ".")
    types = {compile_struct(type_).definition: compile_struct(type_) for type_ in _all_types()}
    named = {key.rpartition(".")[2]: node for key, node in types.items() if f".{name}." in key}
    for type_, words in tomllib.loads(FOLDER.joinpath(file).read_text("utf-8")).items():
        assert type_ in named, type_
        unknown = words.keys() - named[type_].fields.keys() - {"*"}
        assert not unknown, (type_, unknown)
        assert all(text.strip() == text and text for text in words.values())


@pytest.mark.parametrize("gvk", WRITTEN_MOST, ids=lambda gvk: gvk[2])
def test_every_field_people_write_is_explained(gvk: tuple[str, str, str]) -> None:
    definitions = Definitions(2)
    definitions.reference(compile_struct(kinds()[GroupVersionKind(*gvk)]))
    silent = [
        f"{name.rpartition('.')[2]}.{field}"
        for name, schema in definitions.schemas.items()
        for field, about in schema.get("properties", {}).items()
        if not about.get("description")
    ]
    assert not silent
