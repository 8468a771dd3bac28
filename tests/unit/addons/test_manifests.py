"""What a file of manifests holds, and why one cannot be used."""

import pytest

from kubelite.addons.manifests import (
    Manifest,
    ObjectKey,
    UnusableFile,
    check_number,
    rank,
    read,
    resolve,
    split,
    with_label,
)
from kubelite.api.client.protocol import ServedResource
from kubelite.limits import ADDON_OBJECTS


def objects(text: str, name: str = "web.yaml") -> list[str]:
    documents = enumerate(split(name, text.encode()), start=1)
    return [str(one) for number, document in documents for one in read(name, number, document)]


def config_map(name: str, more: str = "") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n{more}"


A, B = config_map("a"), config_map("b")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (A, ["1 a"]),
        (f"---\n{A}---\n{B}", ["1 a", "2 b"]),
        (f"# licence\n---\n# web\n{A}", ["1 a"]),
        (f"%YAML 1.1\n---\n{A}", ["1 a"]),
        (f"{A}---\n# nothing\n---\n{B}...\n", ["1 a", "3 b"]),
        (f"{A}...\n{B}", ["1 a", "2 b"]),
        (f"{A}--- # the second\r\n{B}", ["1 a", "2 b"]),
        ("--- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", ["1 a"]),
        (config_map("a", "data:\n  text: |\n    ---\n    x\n"), ["1 a"]),
        ("", []),
        ("# nothing\n", []),
    ],
)
def test_documents(text: str, wanted: list[str]) -> None:
    assert objects(text) == [f"document {one[0]}, ConfigMap {one[2]}" for one in wanted]


def test_lists_are_taken_apart() -> None:
    plain = (
        "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: a}}]}"
    )
    typed = "{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: a}}]}"
    assert objects(plain) == ["document 1, Pod a"]
    (found,) = read("x.yaml", 1, typed.encode())
    assert (found.group, found.version, found.kind) == ("apps", "v1", "Deployment")
    # A kind of its own may end like a list.
    own = "{apiVersion: x.io/v1, kind: AllowList, metadata: {name: a}, spec: {}, items: [1]}"
    assert objects(own) == ["document 1, AllowList a"]


def test_json() -> None:
    text = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}'
    assert objects(text, "web.json") == ["document 1, Pod a"]
    with pytest.raises(UnusableFile, match="document 1: json parse error"):
        objects(config_map("a"), "web.json")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{config_map('a')}---\na: [", "document 2: yaml: "),
        (f"{config_map('a')}---\nname: web\n", "document 2: apiVersion must be a text"),
        ("[1]", "document 1: it must be an object"),
        ("apiVersion: v1\nkind: 3\n", "document 1: kind must be a text"),
        ("apiVersion: v1\nkind: Pod\n", "document 1, Pod: metadata must be an object"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a}\n",
            r"document 1, Pod: metadata\.name",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: [b]}\n",
            r"Pod a: metadata\.namespace",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: b}\n", r"Pod a: metadata\.labels"),
        (config_map("a", "data: {}\ndata: {}\n"), 'document 1: .*"data"'),
        ("apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n", "document 1: apiVersion must be"),
        ("a: " + "[" * 20_000, "document 1: yaml: "),
    ],
)
def test_what_cannot_be_used_names_document_and_object(text: str, reason: str) -> None:
    with pytest.raises(UnusableFile, match=reason):
        objects(text)


def test_the_number_of_objects_is_bounded() -> None:
    before = ADDON_OBJECTS.times_reached
    check_number(ADDON_OBJECTS.value)
    with pytest.raises(UnusableFile, match="more than"):
        check_number(ADDON_OBJECTS.value + 1)
    assert ADDON_OBJECTS.times_reached == before + 1


def test_what_others_need_comes_first() -> None:
    kinds = ["ValidatingWebhookConfiguration", "Deployment", "ConfigMap", "ServiceAccount"]
    kinds += ["CustomResourceDefinition", "Widget", "Namespace", "Service"]
    assert sorted(kinds, key=rank) == [
        "Namespace",
        "CustomResourceDefinition",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Deployment",
        "Widget",
        "ValidatingWebhookConfiguration",
    ]


def test_objects_without_a_namespace_are_in_the_default_one() -> None:
    rows = {
        ("", "Pod"): ServedResource("", "v1", "pods", "Pod", True),
        ("", "Node"): ServedResource("", "v1", "nodes", "Node", False),
    }

    def key(kind: str, namespace: str = "") -> ObjectKey | None:
        found = resolve(Manifest(1, "", "v1", kind, "a", namespace, {}), rows)
        return found.key if found is not None else None

    assert key("Pod") == ObjectKey("", "Pod", "default", "a")
    assert key("Pod", "n") == ObjectKey("", "Pod", "n", "a")
    assert key("Node") == ObjectKey("", "Node", "", "a")
    assert key("Widget") is None


def test_a_label_more_leaves_the_file_s_object_as_it_is() -> None:
    body = {"metadata": {"name": "a", "labels": {"b": "c"}}, "data": {}}
    manifest = Manifest(1, "", "v1", "ConfigMap", "a", "", body)
    labelled = with_label(manifest, "default", "part-of", "x")
    assert labelled["metadata"]["labels"] == {"b": "c", "part-of": "x"}
    assert labelled["metadata"]["namespace"] == "default"
    assert body == {"metadata": {"name": "a", "labels": {"b": "c"}}, "data": {}}
