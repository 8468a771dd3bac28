from typing import Any

import pytest
from fakes.server import Server, read

from kubelite.api.errors import BadRequest, Conflict, Invalid, NotFound, TooManyRequests
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.strategies.pods import copy_app_armor, quality_of_service

JSON = dict[str, Any]


def pod(name: str, node: str = "", **spec: Any) -> JSON:
    containers = [{"name": "c", "image": "web:1"}]
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": containers, **({"nodeName": node} if node else {}), **spec},
    }


@pytest.fixture
async def server() -> Server:
    return Server()


def resources(requests: JSON | None = None, limits: JSON | None = None) -> JSON:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [{}]}, "BestEffort"),
        ({"containers": [resources({"cpu": "1"})]}, "Burstable"),
        ({"containers": [resources(BOTH, {"cpu": "1000m", "memory": "1024Mi"})]}, "Guaranteed"),
        ({"containers": [resources(BOTH, {"cpu": "2", "memory": "1Gi"})]}, "Burstable"),
        ({"containers": [resources(BOTH, BOTH), {}]}, "Burstable"),
        ({"containers": [resources(BOTH, BOTH)], "initContainers": [{}]}, "Burstable"),
        ({"containers": [resources({"cpu": "0"})]}, "BestEffort"),
        ({"containers": [resources({"example.com/gpu": "1"})]}, "BestEffort"),
        ({"containers": [{}], "resources": {"requests": BOTH, "limits": BOTH}}, "Guaranteed"),
        ({"containers": [{}], "resources": {"limits": {"cpu": "1"}}}, "Burstable"),
    ],
)
def test_the_class_follows_from_cpu_and_memory(spec: JSON, expected: str) -> None:
    assert quality_of_service(spec) == expected


async def test_a_new_pod_is_pending(server: Server) -> None:
    made = await server.create("v1/pods", {**pod("a"), "status": {"phase": "Running"}})
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    gated = await server.create("v1/pods", pod("b", schedulingGates=[{"name": "g"}]))
    assert gated["status"]["conditions"][0]["reason"] == "SchedulingGated"


async def test_an_unbound_pod_goes_at_once(server: Server) -> None:
    await server.create("v1/pods", pod("a"))
    gone = await server.delete("v1/pods", "a")
    assert gone["kind"] == "Pod"
    assert server.names("v1/pods") == []


async def test_a_bound_pod_stays_until_the_kubelet_lets_it_go(server: Server) -> None:
    await server.create("v1/pods", pod("a", "n1", terminationGracePeriodSeconds=30))
    going = await server.delete("v1/pods", "a")
    assert going["metadata"]["deletionTimestamp"] == "2026-05-01T12:00:30Z"
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert going["metadata"]["generation"] == 2
    server.clock.advance(5)
    again = await server.delete("v1/pods", "a", grace_seconds=60)
    assert again["metadata"]["deletionTimestamp"] == "2026-05-01T12:00:30Z"
    sooner = await server.delete("v1/pods", "a", grace_seconds=10)
    assert sooner["metadata"]["deletionTimestamp"] == "2026-05-01T12:00:10Z"
    assert server.names("v1/pods") == ["a"]
    await server.delete("v1/pods", "a", grace_seconds=0)
    assert server.names("v1/pods") == []


async def test_a_finished_pod_goes_at_once(server: Server) -> None:
    await server.create("v1/pods", pod("a", "n1"))
    await server.patch("v1/pods/status", "a", {"status": {"phase": "Succeeded"}})
    await server.delete("v1/pods", "a")
    assert server.names("v1/pods") == []


async def test_a_status_write_changes_nothing_else(server: Server) -> None:
    made = await server.create("v1/pods", pod("a", "n1"))
    body = {
        **made,
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    shown = await server.update("v1/pods/status", "a", body)
    assert shown["spec"] == made["spec"]
    assert shown["status"]["qosClass"] == "BestEffort"
    assert shown["metadata"]["generation"] == 1


async def test_ephemeral_containers_are_all_their_path_changes(server: Server) -> None:
    await server.create("v1/pods", pod("a", "n1"))
    patch = {
        "metadata": {"labels": {"x": "y"}},
        "spec": {
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
            "nodeName": "n2",
        },
    }
    shown = await server.patch("v1/pods/ephemeralcontainers", "a", patch)
    assert shown["spec"]["ephemeralContainers"][0]["name"] == "debug"
    assert shown["spec"]["nodeName"] == "n1"
    assert shown["metadata"]["labels"] == {"app": "web"}
    assert shown["metadata"]["generation"] == 2


async def test_resize_changes_resources_only(server: Server) -> None:
    await server.create("v1/pods", pod("a", "n1"))
    containers = [{"name": "c", "image": "other", "resources": {"requests": {"cpu": "1"}}}]
    shown = await server.patch("v1/pods/resize", "a", {"spec": {"containers": containers}})
    container = shown["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "1"}}
    assert container["image"] == "web:1"


async def test_a_binding_gives_a_pod_its_node_once(server: Server) -> None:
    await server.create("v1/pods", pod("a"))
    binding = {
        "metadata": {"name": "a", "annotations": {"by": "me"}},
        "target": {"kind": "Node", "name": "n1"},
    }
    answer = await server.create("v1/pods/binding", binding, "a")
    assert answer["status"] == "Success"
    bound = server.get("v1/pods", "a")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["metadata"]["annotations"] == {"by": "me"}
    assert bound["metadata"]["generation"] == 1
    assert bound["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T12:00:00Z"}
    ]
    with pytest.raises(Conflict, match='is already assigned to node "n1"'):
        await server.create("v1/pods/binding", binding, "a")
    with pytest.raises(NotFound):
        await server.create("v1/pods/binding", {**binding, "metadata": {"name": "b"}}, "b")


async def test_the_old_form_of_a_binding_names_its_pod_inside(server: Server) -> None:
    await server.create("v1/pods", pod("a"))
    binding = {"metadata": {"name": "a"}, "target": {"name": "n1"}}
    await server.create("v1/bindings", binding)
    assert server.get("v1/pods", "a")["spec"]["nodeName"] == "n1"


async def make_budget(server: Server, allowed: int) -> None:
    budget = {
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    await server.create("policy/v1/poddisruptionbudgets", budget)
    status = {
        "disruptionsAllowed": allowed,
        "currentHealthy": 1 + allowed,
        "desiredHealthy": 1,
        "expectedPods": 2,
        "observedGeneration": 1,
    }
    await server.patch("policy/v1/poddisruptionbudgets/status", "web", {"status": status})


async def make_running(server: Server, name: str) -> None:
    await server.create("v1/pods", pod(name, "n1", terminationGracePeriodSeconds=5))
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "conditions": [ready]}
    await server.patch("v1/pods/status", name, {"status": status})


async def test_eviction_spends_a_disruption_of_the_budget(server: Server) -> None:
    await make_budget(server, 1)
    for name in ("a", "b"):
        await make_running(server, name)
    await server.create("v1/pods/eviction", {"metadata": {"name": "a"}}, "a")
    going = server.get("v1/pods", "a")
    assert going["metadata"]["deletionGracePeriodSeconds"] == 5
    assert going["status"]["conditions"][1]["type"] == "DisruptionTarget"
    status = server.get("policy/v1/poddisruptionbudgets", "web")["status"]
    assert status["disruptionsAllowed"] == 0
    assert status["disruptedPods"] == {"a": "2026-05-01T12:00:00Z"}
    with pytest.raises(TooManyRequests) as caught:
        await server.create("v1/pods/eviction", {"metadata": {"name": "b"}}, "b")
    assert caught.value.message == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    assert caught.value.causes[0].reason == "DisruptionBudget"


async def test_a_pod_that_does_not_run_is_evicted_freely(server: Server) -> None:
    await make_budget(server, 0)
    await server.create("v1/pods", pod("a"))
    await server.create("v1/pods/eviction", {"metadata": {"name": "a"}}, "a")
    assert server.names("v1/pods") == []


REVISION = {"key": "hash", "operator": "In", "values": ["a"]}
NOT_TEAM = {"key": "team", "operator": "NotIn", "values": ["red"]}


def spread_term(selector: JSON | None, *keys: str) -> JSON:
    term: JSON = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    term |= {"matchLabelKeys": list(keys)}
    return term if selector is None else {**term, "labelSelector": selector}


async def test_label_keys_become_part_of_selectors_at_creation(server: Server) -> None:
    term = {
        "topologyKey": "zone",
        "labelSelector": {},
        "matchLabelKeys": ["hash"],
        "mismatchLabelKeys": ["team"],
    }
    preferred = [{"weight": 1, "podAffinityTerm": term}]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {
        "podAffinity": {required: [term]},
        "podAntiAffinity": {
            required: [term],
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        },
    }
    selector = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    body = pod(
        "a",
        affinity=affinity,
        topologySpreadConstraints=[spread_term(selector, "hash", "absent")],
    )
    body["metadata"]["labels"] = {"hash": "a", "team": "red"}
    made = await server.create("v1/pods", body)
    [spread] = made["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchExpressions"] == [*selector["matchExpressions"], REVISION]
    terms = made["spec"]["affinity"]
    [one] = terms["podAffinity"][required]
    [other] = terms["podAntiAffinity"][required]
    [weighted] = terms["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    for each in (one, other, weighted["podAffinityTerm"]):
        assert each["labelSelector"]["matchExpressions"] == [REVISION, NOT_TEAM]
    changed = {"metadata": {"labels": {"hash": "b"}}}
    patched = await server.patch("v1/pods", "a", changed)
    assert patched["spec"]["topologySpreadConstraints"] == [spread]


async def test_a_key_may_not_stand_in_selector_and_label_keys(server: Server) -> None:
    twice = [spread_term({"matchLabels": {"hash": "a"}}, "hash")]
    body = pod("a", topologySpreadConstraints=twice)
    body["metadata"]["labels"] = {"hash": "a"}
    with pytest.raises(Invalid, match="exists in both matchLabelKeys and labelSelector"):
        await server.create("v1/pods", body)
    without = [spread_term(None, "hash")]
    with pytest.raises(Invalid, match="must not be specified when labelSelector is not set"):
        await server.create("v1/pods", pod("b", topologySpreadConstraints=without))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "name in URL does not match name in Eviction object"),
        ({"name": "b"}, "name in URL does not match name in Eviction object"),
        (
            {"name": "a", "namespace": "other"},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
async def test_an_eviction_of_another_pod_is_refused(
    server: Server, metadata: JSON, message: str
) -> None:
    await make_running(server, "a")
    allowed = server.allowed("create", "v1/pods/eviction", "a")
    with pytest.raises(BadRequest, match=message):
        await server.verbs.create(allowed, {"metadata": metadata}, WriteOptions())
    assert server.get("v1/pods", "a")


async def test_an_eviction_says_twice_that_it_is_a_trial_or_once(server: Server) -> None:
    await make_running(server, "a")
    body = {"metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All", "All"]}}
    with pytest.raises(BadRequest, match="Non-matching dry-run options"):
        await server.create("v1/pods/eviction", body, "a", dry_run=True)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("v1/pods/binding", {"metadata": {"name": "a"}, "kind": "Pod"}, "handled as a Binding"),
        ("v1/pods/binding", {"metadata": {}}, "name in URL does not match name in Binding"),
        ("v1/pods/eviction", {"metadata": {"name": "a"}, "kind": "Pod"}, "as a Eviction"),
        (
            "v1/pods/eviction",
            {"metadata": {"name": "a"}, "apiVersion": "policy/v2"},
            "does not match the expected API version",
        ),
    ],
)
async def test_what_is_posted_has_the_kind_and_name_of_its_path(
    server: Server, path: str, body: JSON, message: str
) -> None:
    await server.create("v1/pods", pod("a"))
    with pytest.raises(BadRequest, match=message):
        await server.create(path, {**body, "target": {"name": "n"}}, "a")


async def test_an_eviction_of_the_version_before_is_taken(server: Server) -> None:
    await server.create("v1/pods", pod("a"))
    body = {"metadata": {"name": "a"}, "apiVersion": "policy/v1beta1", "kind": "Eviction"}
    await server.create("v1/pods/eviction", body, "a")
    assert server.names("v1/pods") == []


async def test_a_binding_may_name_the_version_it_is_based_on(server: Server) -> None:
    made = await server.create("v1/pods", pod("a"))
    version = made["metadata"]["resourceVersion"]
    body = {"metadata": {"name": "a", "resourceVersion": "1" + version}, "target": {"name": "n"}}
    with pytest.raises(Conflict, match="ResourceVersion in precondition"):
        await server.create("v1/pods/binding", body, "a")
    body["metadata"]["resourceVersion"] = version
    await server.create("v1/pods/binding", body, "a")
    assert server.get("v1/pods", "a")["spec"]["nodeName"] == "n"


ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


@pytest.mark.parametrize(
    ("annotation", "profile"),
    [
        ("runtime/default", {"type": "RuntimeDefault"}),
        ("unconfined", {"type": "Unconfined"}),
        ("localhost/mine", {"type": "Localhost", "localhostProfile": "mine"}),
        ("localhost/", None),
        ("localhost/ mine", None),
        ("localhost/" + "x" * 4096, None),
        ("other", None),
        ("", None),
    ],
)
def test_an_apparmor_annotation_becomes_a_field(annotation: str, profile: JSON | None) -> None:
    spec: JSON = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]}
    warnings = copy_app_armor(
        spec, {f"{ANNOTATION}c": annotation, f"{ANNOTATION}none": "unconfined"}
    )
    found = (spec["containers"][0].get("securityContext") or {}).get("appArmorProfile")
    assert found == profile
    assert spec["initContainers"] == [{"name": "i"}]
    deprecated = 'deprecated since v1.30; use the "appArmorProfile" field instead'
    expected = [f"metadata.annotations[{ANNOTATION}c]: {deprecated}"]
    assert warnings == (expected if profile else [])


@pytest.mark.parametrize(
    "spec",
    [
        {"os": {"name": "windows"}},
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        {
            "containers": [
                {"name": "c", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}
            ]
        },
    ],
)
def test_a_field_counts_more_than_the_annotation(spec: JSON) -> None:
    spec = {"containers": [{"name": "c"}], **spec}
    before = str(spec)
    assert copy_app_armor(spec, {f"{ANNOTATION}c": "unconfined"}) == []
    assert str(spec) == before


async def test_a_created_pod_has_the_field_and_its_creator_the_warning(server: Server) -> None:
    made = pod("p")
    made["metadata"]["annotations"] = {f"{ANNOTATION}c": "localhost/mine"}
    allowed = server.allowed("create", "v1/pods")
    written = await server.verbs.create(allowed, made, WriteOptions())
    (warning,) = (one for one in written.warnings if ANNOTATION in one)
    assert warning.startswith(f"metadata.annotations[{ANNOTATION}c]: deprecated since v1.30")
    context = read(written)["spec"]["containers"][0]["securityContext"]
    assert context["appArmorProfile"] == {"type": "Localhost", "localhostProfile": "mine"}
