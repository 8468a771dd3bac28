"""Sets as KEP-3659 has them."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kubelite.addons.applyset import (
    ID,
    KINDS,
    PROBLEM_MAX,
    Scope,
    is_parent,
    is_same,
    parent_body,
    parent_name,
    recorded_scope,
    scope_of,
    set_id,
    told,
)
from kubelite.addons.manifests import ObjectKey
from kubelite.api.kinds.core.config import ConfigMap

DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
KEYS = (
    ObjectKey("apps", "Deployment", "web", "a"),
    ObjectKey("", "Namespace", "", "web"),
    ObjectKey("", "ConfigMap", "kube-system", "b"),
)


def stored(file: str = "web.yaml", scope: Scope | None = None) -> ConfigMap:
    scope = scope_of(KEYS) if scope is None else scope
    return msgspec.convert(parent_body(file, scope, {"state": "Applied"}), ConfigMap)


def test_the_identity_is_that_which_kubectl_computes() -> None:
    # base64url(sha256("addon-web.yaml.kube-system.ConfigMap.")), computed with coreutils.
    assert set_id("addon-web.yaml") == "applyset-heQXiSgDfWFieIZnbXNvaAHcjxiIEs2VFC3pz4du39Q-v1"


def test_a_parent_records_kinds_and_further_namespaces() -> None:
    parent = stored()
    assert parent.metadata.annotations == {
        "applyset.kubernetes.io/tooling": parent.metadata.annotations[
            "applyset.kubernetes.io/tooling"
        ],
        "applyset.kubernetes.io/contains-group-kinds": "ConfigMap,Deployment.apps,Namespace",
        "applyset.kubernetes.io/additional-namespaces": "web",
    }
    assert re.fullmatch(
        r"kubelite/v\d+\.\d+.*", parent.metadata.annotations["applyset.kubernetes.io/tooling"]
    )
    assert recorded_scope(parent) == scope_of(KEYS)
    assert recorded_scope(stored(scope=Scope())) == recorded_scope(None) == Scope()


@pytest.mark.parametrize(
    "file", ["web.yaml", "Web_1.yaml", "a b.yaml", "_.yaml", "ü.json", "x" * 250 + ".yaml"]
)
def test_every_file_name_gives_a_name(file: str) -> None:
    name = parent_name(file)
    assert DNS_SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_files_never_share_a_parent(one: str, other: str) -> None:
    assert (parent_name(one) == parent_name(other)) == (one == other)


def test_only_the_parent_of_the_file_it_names_is_one() -> None:
    parent = stored()
    assert is_parent(parent)
    assert not is_parent(replace(parent, data={"file": "other.yaml"}))
    assert not is_parent(replace(parent, data={}))
    labels = {**parent.metadata.labels, ID: set_id("addon-other.yaml")}
    assert not is_parent(replace(parent, metadata=replace(parent.metadata, labels=labels)))


def test_what_others_add_to_a_parent_does_not_matter() -> None:
    parent = stored()
    body = parent_body("web.yaml", scope_of(KEYS), {"state": "Applied"})
    more = replace(parent.metadata, labels={**parent.metadata.labels, "team": "a"})
    assert is_same(replace(parent, metadata=more), body)
    less = {key: text for key, text in parent.metadata.annotations.items() if key != KINDS}
    assert not is_same(replace(parent, metadata=replace(more, annotations=less)), body)
    assert not is_same(None, body)


def test_problems_are_bounded() -> None:
    assert told(["a", "b"]) == "a\nb"
    assert len(told(["x" * 10_000])) == PROBLEM_MAX + 3
