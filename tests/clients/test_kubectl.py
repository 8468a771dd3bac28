"""What people do with kubectl, against a real server."""

import json
import subprocess
from pathlib import Path

import pytest

from clients.conftest import Kubectl

pytestmark = pytest.mark.kubectl

APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: app, labels: {tier: web}}
data: {colour: "%s"}
"""
BLUE, GREEN, RED = APP % "blue", APP % "green", APP % "red"


def colour(kubectl: Kubectl) -> str:
    return kubectl.run("get", "cm", "app", "-o", "jsonpath={.data.colour}")


def test_apply_diff_replace(kubectl: Kubectl) -> None:
    assert "created" in kubectl.run("apply", "-f", "-", text=BLUE)
    assert "unchanged" in kubectl.run("apply", "-f", "-", text=BLUE)
    assert "+  colour: green" in kubectl.run("diff", "-f", "-", text=GREEN, codes=(1,))
    assert colour(kubectl) == "blue"
    assert "configured" in kubectl.run("apply", "-f", "-", text=GREEN)
    assert colour(kubectl) == "green"
    assert "replaced" in kubectl.run("replace", "-f", "-", text=RED)
    assert colour(kubectl) == "red"
    before = kubectl.run("get", "cm", "app", "-o", "jsonpath={.metadata.uid}")
    kubectl.run("replace", "--force", "-f", "-", text=GREEN)
    assert kubectl.run("get", "cm", "app", "-o", "jsonpath={.metadata.uid}") != before
    kubectl.run("delete", "-f", "-", text=RED)
    assert "NotFound" in kubectl.refused("get", "cm", "app")


def test_replace_of_what_has_changed_meanwhile(kubectl: Kubectl) -> None:
    kubectl.run("create", "cm", "app")
    old = kubectl.run("get", "cm", "app", "-o", "json")
    kubectl.run("label", "cm", "app", "a=b")
    refused = kubectl.refused("replace", "-f", "-", text=old)
    assert "the object has been modified" in refused


def test_server_side_apply_and_its_conflicts(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    kubectl.run(*apply, "--field-manager=one", text=BLUE)
    refused = kubectl.refused(*apply, "--field-manager=two", text=GREEN)
    assert 'conflict with "one": .data.colour' in refused
    assert colour(kubectl) == "blue"
    kubectl.run(*apply, "--field-manager=two", "--force-conflicts", text=GREEN)
    assert colour(kubectl) == "green"
    shown = json.loads(kubectl.run("get", "cm", "app", "-o", "json", "--show-managed-fields"))
    assert "+  colour: red" in kubectl.run(
        "diff", "--server-side", "--force-conflicts", "-f", "-", text=RED, codes=(1,)
    )
    kubectl.run(*apply, "--force-conflicts", "--dry-run=server", text=RED)
    assert colour(kubectl) == "green"
    owners = {
        entry["manager"]: entry["fieldsV1"].get("f:data", {})
        for entry in shown["metadata"]["managedFields"]
    }
    assert "f:colour" in owners["two"]
    assert "f:colour" not in owners.get("one", {})


def test_edit(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.run("apply", "-f", "-", text=BLUE)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/colour: blue/colour: edited/" "$1"\n')
    editor.chmod(0o755)
    assert "edited" in kubectl.run("edit", "cm", "app", KUBE_EDITOR=str(editor))
    assert colour(kubectl) == "edited"


def test_patches_labels_and_annotations(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", text=BLUE)
    operation = json.dumps([{"op": "replace", "path": "/data/colour", "value": "json"}])
    kubectl.run("patch", "cm", "app", "--type=json", "-p", operation)
    assert colour(kubectl) == "json"
    kubectl.run("patch", "cm", "app", "--type=merge", "-p", '{"data":{"colour":"merge"}}')
    assert colour(kubectl) == "merge"
    kubectl.run("create", "deployment", "web", "--image=one", "--replicas=0")
    more = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "two"}]}}}}
    kubectl.run("patch", "deploy", "web", "--type=strategic", "-p", json.dumps(more))
    images = kubectl.run(
        "get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"
    )
    assert images == "two one"
    kubectl.run("label", "cm", "app", "tier-", "team=a")
    kubectl.run("annotate", "cm", "app", "note=x")
    shown = kubectl.run(
        "get", "cm", "app", "-o", "jsonpath={.metadata.labels} {.metadata.annotations.note}"
    )
    assert shown == '{"team":"a"} x'
    assert "app" in kubectl.run("get", "cm", "-l", "team in (a, b)", "-o", "name")
    assert "app" not in kubectl.run("get", "cm", "-l", "team!=a", "-o", "name")


def test_forms_of_get(kubectl: Kubectl) -> None:
    for index in range(5):
        kubectl.run("create", "cm", f"c{index}", "--from-literal=a=b")
    whole = kubectl.run("get", "cm", "--chunk-size=2", "-o", "name").split()
    assert len([name for name in whole if name.startswith("configmap/c")]) == 5
    chosen = kubectl.run("get", "cm", "--field-selector=metadata.name=c3", "--no-headers")
    assert chosen.split()[:2] == ["c3", "1"]
    columns = kubectl.run("get", "cm", "c1", "-o", "custom-columns=NAME:.metadata.name,A:.data.a")
    assert columns.split() == ["NAME", "A", "c1", "b"]
    assert "a: b" in kubectl.run("get", "cm", "c1", "-o", "yaml")
    assert json.loads(kubectl.run("get", "cm", "c1", "-o", "json"))["data"] == {"a": "b"}
    kubectl.run("create", "deployment", "web", "--image=nginx", "--replicas=0")
    wide = kubectl.run("get", "deploy", "-o", "wide").split("\n")
    assert wide[0].split() == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
        "CONTAINERS",
        "IMAGES",
        "SELECTOR",
    ]
    assert "app=web" in wide[1]


def test_get_watches(kubectl: Kubectl) -> None:
    watch = kubectl.start(
        "get", "cm", "--watch", "--no-headers", "-o", "custom-columns=:.metadata.name"
    )
    assert watch.stdout is not None
    try:
        assert watch.stdout.readline().strip() == "kube-root-ca.crt"
        kubectl.run("create", "cm", "late")
        assert watch.stdout.readline().strip() == "late"
    finally:
        watch.kill()
        watch.communicate()


def test_a_watched_table_has_one_heading(kubectl: Kubectl) -> None:
    watch = kubectl.start("get", "deploy", "--watch", "-o", "wide")
    assert watch.stdout is not None
    try:
        kubectl.run("create", "deployment", "web", "--image=nginx", "--replicas=0")
        heading = watch.stdout.readline().split()
        assert heading[:2] + heading[-3:] == ["NAME", "READY", "CONTAINERS", "IMAGES", "SELECTOR"]
        row = watch.stdout.readline().split()
        assert row[:2] + row[-3:] == ["web", "0/0", "nginx", "nginx", "app=web"]
        kubectl.run("delete", "deploy", "web")
        assert watch.stdout.readline().split()[0] == "web"
    finally:
        watch.kill()
        watch.communicate()


def test_pods_by_their_fields(kubectl: Kubectl) -> None:
    kubectl.run("run", "waiting", "--image=x")
    pending = kubectl.run("get", "pods", "--field-selector=status.phase=Pending", "-o", "name")
    assert pending == "pod/waiting\n"
    others = "--field-selector=status.phase!=Pending,spec.restartPolicy=Always"
    assert kubectl.run("get", "pods", others, "-o", "name") == ""
    refused = kubectl.refused("get", "pods", "--field-selector=spec.image=x")
    assert "field label not supported: spec.image" in refused


def test_patch_of_a_status(kubectl: Kubectl) -> None:
    kubectl.run("run", "ready", "--image=x")
    condition = {"status": {"conditions": [{"type": "Odd", "status": "True"}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(condition))
    waiting = kubectl.start("wait", "--for=condition=Odd", "pod/ready", "--timeout=20s")
    kubectl.run("patch", "pod", "ready", *patch)
    output, errors = waiting.communicate(timeout=25)
    assert "condition met" in output, errors


def test_wait(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", text=BLUE)
    waiting = kubectl.start(
        "wait", "--for=jsonpath={.data.colour}=green", "cm/app", "--timeout=20s"
    )
    kubectl.run("apply", "-f", "-", text=GREEN)
    output, errors = waiting.communicate(timeout=25)
    assert "condition met" in output, errors
    deleted = kubectl.start("wait", "--for=delete", "cm/app", "--timeout=20s")
    kubectl.run("delete", "cm", "app")
    assert deleted.wait(25) == 0
    deleted.communicate()


def names(kubectl: Kubectl, kind: str) -> list[str]:
    return kubectl.run("get", kind, "-o", "name").split()


def replicated(kubectl: Kubectl) -> None:
    kubectl.run("create", "deployment", "web", "--image=nginx", "--replicas=2")
    kubectl.run("wait", "--for=jsonpath={.status.replicas}=2", "deploy/web", "--timeout=20s")


def test_delete_in_the_background(kubectl: Kubectl) -> None:
    replicated(kubectl)
    kubectl.run("delete", "deploy", "web", "--cascade=background")
    kubectl.run("wait", "--for=delete", "rs,pods", "-l", "app=web", "--timeout=20s")
    assert not names(kubectl, "rs,pods")


def test_delete_in_the_foreground(kubectl: Kubectl) -> None:
    replicated(kubectl)
    kubectl.run("delete", "deploy", "web", "--cascade=foreground", "--timeout=20s")
    assert not names(kubectl, "deploy,rs,pods")


def test_delete_of_an_owner_only(kubectl: Kubectl) -> None:
    replicated(kubectl)
    kubectl.run("delete", "deploy", "web", "--cascade=orphan")
    assert len(names(kubectl, "rs")) == 1
    owners = kubectl.run("get", "rs", "-o", "jsonpath={.items[0].metadata.ownerReferences}")
    assert owners == ""
    assert len(names(kubectl, "pods")) == 2


def test_dry_run_changes_nothing(kubectl: Kubectl) -> None:
    shown = kubectl.run("create", "cm", "dry", "--dry-run=server", "-o", "jsonpath={.metadata.uid}")
    assert shown
    assert "NotFound" in kubectl.refused("get", "cm", "dry")


def test_events(kubectl: Kubectl) -> None:
    replicated(kubectl)
    listed = kubectl.run("events", "--for=replicaset/" + names(kubectl, "rs")[0].split("/")[1])
    assert "SuccessfulCreate" in listed
    assert "SuccessfulCreate" in kubectl.run("get", "events", "--sort-by=.lastTimestamp")
    scaled = "--field-selector=involvedObject.kind=Deployment,reason=ScalingReplicaSet"
    shown = kubectl.run("get", "events", scaled, "-o", "jsonpath={.items[*].involvedObject.name}")
    assert shown == "web"
    assert "ScalingReplicaSet" in kubectl.run("describe", "deploy", "web")


def test_unknown_and_wrong_fields(kubectl: Kubectl) -> None:
    wrong = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}}'
    assert 'unknown field "dta"' in kubectl.refused("create", "-f", "-", text=wrong)
    warned = kubectl.run("create", "--validate=warn", "-f", "-", text=wrong)
    assert 'Warning: unknown field "dta"' in warned
    typed = wrong.replace('"dta":{}', '"data":{"a":1}').replace('"x"', '"y"')
    assert "cannot unmarshal number" in kubectl.refused(
        "create", "--validate=false", "-f", "-", text=typed
    )


def test_an_applied_configuration_of_another_type_is_told_where_it_is_wrong(
    kubectl: Kubectl,
) -> None:
    wrong = BLUE.rstrip() + "\ndaata: {}\n"
    refused = kubectl.refused("apply", "--server-side", "--validate=ignore", "-f", "-", text=wrong)
    assert ".daata: field not declared in schema" in refused
    kubectl.run("apply", "-f", "-", text=BLUE)
    patch = '{"data": {"a": 1}}'
    refused = kubectl.refused("patch", "configmap", "app", "-p", patch)
    assert "The request is invalid: patch: Invalid value" in refused
    assert "cannot convert int64 to string" in refused


def test_what_the_server_tells_of_itself(kubectl: Kubectl) -> None:
    resources = kubectl.run("api-resources", "--sort-by=name", "-o", "wide")
    assert "deployments" in resources
    assert {"v1", "apps/v1", "batch/v1"} <= set(kubectl.run("api-versions").split())
    assert "Server Version: v1.36" in kubectl.run("version")
    explained = kubectl.run("explain", "pod.spec.containers.resources")
    assert "limits" in explained
    assert "replicas" in kubectl.run("explain", "deployment.spec", "--recursive")
    assert kubectl.run("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in kubectl.run("get", "--raw", "/livez?verbose")
    assert "apiserver_request_total{" in kubectl.run("get", "--raw", "/metrics")


def test_who_may_do_what(kubectl: Kubectl) -> None:
    assert kubectl.run("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in kubectl.run("auth", "whoami")
    assert kubectl.run("auth", "can-i", "list", "secrets", "--as=eve", codes=(1,)).startswith("no")
    refused = kubectl.refused("get", "secrets", "--as=eve")
    assert 'User "eve" cannot list resource "secrets" in API group ""' in refused
    kubectl.run("create", "role", "reader", "--verb=list", "--resource=pods")
    kubectl.run("create", "rolebinding", "eve", "--role=reader", "--user=eve")
    assert kubectl.run("auth", "can-i", "list", "pods", "--as=eve") == "yes\n"


def test_scale_and_rollout(kubectl: Kubectl) -> None:
    kubectl.run("create", "deployment", "web", "--image=one", "--replicas=1")
    kubectl.run("scale", "deploy", "web", "--replicas=3", "--current-replicas=1")
    assert kubectl.run("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    kubectl.run("set", "image", "deploy/web", "one=two")
    assert "REVISION" in kubectl.run("rollout", "history", "deploy/web")
    described = kubectl.run("describe", "deploy", "web")
    assert "Image:" in described
    kubectl.run("rollout", "pause", "deploy/web")
    kubectl.run("rollout", "resume", "deploy/web")


def test_streams_of_pods_that_are_nowhere(kubectl: Kubectl) -> None:
    kubectl.run("run", "alone", "--image=x")
    assert "does not have a host assigned" in kubectl.refused("exec", "alone", "--", "true")
    assert kubectl.run("logs", "alone") == ""


def test_many_clients_at_once(kubectl: Kubectl) -> None:
    started: list[subprocess.Popen[str]] = [
        kubectl.start("create", "cm", f"c{index}") for index in range(20)
    ]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(names(kubectl, "cm")) == 21
