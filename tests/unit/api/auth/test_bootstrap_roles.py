from typing import Any

import yaml
from digests import comparable, default_roles, digest, golden_digests, name_of
from msgspec import Struct
from msgspec.structs import replace
from reference import reference_files

from kubelite.api.auth.bootstrap_roles import (
    AUTOUPDATE,
    AnyBinding,
    AnyRole,
    Defaults,
    defaults,
    is_rebound,
    node_rules,
    revised,
)
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject

DEFAULTS = defaults()


class Writes(Struct, frozen=True):
    """What would be written to bring what is stored to the defaults."""

    create: tuple[AnyRole | AnyBinding, ...] = ()
    update: tuple[AnyRole | AnyBinding, ...] = ()
    delete: tuple[AnyBinding, ...] = ()


def plan(wanted: Defaults, lookup: FixedLookup) -> Writes:
    create: list[AnyRole | AnyBinding] = []
    update: list[AnyRole | AnyBinding] = []
    delete: list[AnyBinding] = []
    items: tuple[AnyRole | AnyBinding, ...] = (*wanted.roles, *wanted.bindings)
    for item in items:
        held: Any = lookup.get(type(item), item.metadata.name, item.metadata.namespace)
        if held is None:
            create.append(item)
        elif isinstance(item, AnyBinding) and is_rebound(held, item):
            delete.append(held)
            create.append(item)
        elif (changed := revised(held, item)) != held:
            update.append(changed)
    return Writes(tuple(create), tuple(update), tuple(delete))


def stored() -> FixedLookup:
    return FixedLookup([*DEFAULTS.roles, *DEFAULTS.bindings])


def reference_digests() -> list[dict[str, str]]:
    """Return the digests of the reference's roles and bindings in a list; it is empty where there is none."""
    items = [
        item
        for path in reference_files("rbac/*.yaml")
        for item in yaml.safe_load(path.read_text())["items"]
    ]
    return [{name_of(item): digest(comparable(item)) for item in items}] if items else []


def test_equal_to_upstream() -> None:
    made = {name: digest(item) for name, item in default_roles().items()}
    golden = {name: said for name, said in golden_digests().items() if "/" in name}
    for wanted in (golden, *reference_digests()):
        assert made == wanted


def test_everything_is_created_once() -> None:
    writes = plan(DEFAULTS, FixedLookup())
    assert len(writes.create) == len(DEFAULTS.roles) + len(DEFAULTS.bindings)
    assert plan(DEFAULTS, stored()) == Writes()


def changed_role(**changes: Any) -> tuple[FixedLookup, ClusterRole]:
    lookup = stored()
    role = lookup.get(ClusterRole, "system:discovery")
    assert role is not None
    role = replace(role, **changes)
    lookup.put(role)
    return lookup, role


def test_missing_rules_come_back_and_added_ones_stay() -> None:
    mine = PolicyRule(verbs=["get"], nonResourceURLs=["/mine"])
    lookup, _ = changed_role(rules=[mine])
    (role,) = plan(DEFAULTS, lookup).update
    assert isinstance(role, ClusterRole)
    assert role.rules[0] == mine
    assert len(role.rules) > 1
    lookup.put(role)
    assert plan(DEFAULTS, lookup) == Writes()


def test_rules_held_in_another_form_are_not_missing() -> None:
    lookup, _ = changed_role(rules=[PolicyRule(verbs=["*"], nonResourceURLs=["*"])])
    assert plan(DEFAULTS, lookup) == Writes()


def test_objects_set_aside_are_left_alone() -> None:
    lookup, role = changed_role(rules=[])
    meta = replace(role.metadata, annotations={AUTOUPDATE: "false"})
    lookup.put(replace(role, metadata=meta))
    assert plan(DEFAULTS, lookup) == Writes()


def test_aggregated_rules_are_not_touched() -> None:
    lookup = stored()
    role = lookup.get(ClusterRole, "view")
    assert role is not None
    lookup.put(replace(role, rules=[PolicyRule(verbs=["get"], apiGroups=[""], resources=["pods"])]))
    assert plan(DEFAULTS, lookup) == Writes()


def test_missing_subjects_come_back() -> None:
    lookup = stored()
    binding = lookup.get(ClusterRoleBinding, "cluster-admin")
    assert binding is not None
    mine = Subject(kind="User", name="anna", apiGroup="rbac.authorization.k8s.io")
    lookup.put(replace(binding, subjects=[mine]))
    (update,) = plan(DEFAULTS, lookup).update
    assert isinstance(update, ClusterRoleBinding)
    assert [subject.name for subject in update.subjects] == ["anna", "system:masters"]


def test_a_binding_to_another_role_is_made_anew() -> None:
    lookup = stored()
    binding = lookup.get(ClusterRoleBinding, "system:discovery")
    assert binding is not None
    lookup.put(replace(binding, roleRef=RoleRef(kind="ClusterRole", name="other")))
    writes = plan(DEFAULTS, lookup)
    assert [item.metadata.name for item in writes.delete] == ["system:discovery"]
    assert [item.metadata.name for item in writes.create] == ["system:discovery"]


def test_node_rules() -> None:
    assert any("secrets" in rule.resources for rule in node_rules(DEFAULTS))
