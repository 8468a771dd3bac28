"""Rules of pods."""

from typing import Any

import pytest
from fakes.rule_samples import changed, container, lines, pod

from kubelite.api.registry.rules import pods

TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
RICH = pod(
    serviceAccountName="default",
    nodeSelector={"disk": "ssd"},
    volumes=[
        {"name": "config", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "token", "projected": {"sources": [TOKEN]}},
        {"name": "host", "hostPath": {"path": "/var/log", "type": ""}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "data"}},
    ],
    containers=[
        container(
            ports=[{"name": "http", "containerPort": 80, "protocol": "TCP"}],
            env=[
                {"name": "A", "value": "b"},
                {
                    "name": "IP",
                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
                },
            ],
            envFrom=[{"configMapRef": {"name": "c"}}],
            resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
            volumeMounts=[{"name": "config", "mountPath": "/etc/c", "readOnly": True}],
            livenessProbe={
                "httpGet": {"path": "/", "port": "http", "scheme": "HTTP"},
                "successThreshold": 1,
            },
            lifecycle={"preStop": {"exec": {"command": ["true"]}}},
            securityContext={"runAsUser": 1000, "privileged": False},
        )
    ],
    initContainers=[container(name="init")],
    tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    affinity={
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "zone"}
            ]
        }
    },
    topologySpreadConstraints=[
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a.b"]}],
    dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots"}]},
)


def test_good_pods_pass() -> None:
    assert lines(pods.validate(pod())) == []
    assert lines(pods.validate(RICH)) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("spec.containers", [], "spec.containers: Required value"),
        ("spec.containers.0.image", None, "spec.containers[0].image: Required value"),
        (
            "spec.containers.0.image",
            " x",
            'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
        ),
        ("spec.containers.0.name", None, "spec.containers[0].name: Required value"),
        (
            "spec.containers.0.name",
            "a.b",
            'spec.containers[0].name: Invalid value: "a.b": must not contain dots',
        ),
        (
            "spec.containers.0.imagePullPolicy",
            "Often",
            (
                'spec.containers[0].imagePullPolicy: Unsupported value: "Often": '
                'supported values: "Always", "IfNotPresent", "Never"'
            ),
        ),
        (
            "spec.restartPolicy",
            "Sometimes",
            (
                'spec.restartPolicy: Unsupported value: "Sometimes": '
                'supported values: "Always", "OnFailure", "Never"'
            ),
        ),
        (
            "spec.containers.0.ports.0.containerPort",
            70000,
            (
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: "
                "must be between 1 and 65535, inclusive"
            ),
        ),
        (
            "spec.containers.0.volumeMounts.0.name",
            "nope",
            'spec.containers[0].volumeMounts[0].name: Not found: "nope"',
        ),
        (
            "spec.containers.0.resources.requests.cpu",
            "2",
            (
                'spec.containers[0].resources.requests: Invalid value: "2": '
                "must be less than or equal to cpu limit of 1"
            ),
        ),
        (
            "spec.containers.0.resources.limits.gpus",
            "1",
            (
                'spec.containers[0].resources.limits[gpus]: Invalid value: "gpus": '
                "must be a standard resource type or fully qualified"
            ),
        ),
        (
            "spec.containers.0.livenessProbe.successThreshold",
            2,
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "spec.containers.0.livenessProbe.httpGet.httpHeaders",
            [{"name": "X-A: b", "value": "c"}],
            (
                'spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "X-A: b": '
                "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                "'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            ),
        ),
        (
            "spec.containers.0.livenessProbe.httpGet.httpHeaders",
            [{"name": "X-A", "value": "tab\tis\u00fc fine"}, {"name": "X-B", "value": "a\x1bb"}],
            (
                'spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "a\\x1bb": '
                "a valid HTTP header value must not contain control characters"
            ),
        ),
        (
            "spec.containers.0.lifecycle.preStop",
            {
                "httpGet": {
                    "path": "/",
                    "port": 80,
                    "scheme": "HTTP",
                    "httpHeaders": [{"name": "X-A", "value": "a\r\nX-B: c"}],
                }
            },
            (
                "spec.containers[0].lifecycle.preStop.httpGet.httpHeaders: Invalid value: "
                '"a\\r\\nX-B: c": a valid HTTP header value must not contain control characters'
            ),
        ),
        (
            "spec.containers.0.livenessProbe.httpGet",
            None,
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            "spec.containers.0.env.0.name",
            "a=b",
            (
                'spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name '
                "must consist only of printable ASCII characters other than '='"
            ),
        ),
        (
            "spec.containers.0.env.1.valueFrom.fieldRef.fieldPath",
            "spec.image",
            (
                'spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: "spec.image": '
                "error converting fieldPath: field label not supported: spec.image"
            ),
        ),
        (
            "spec.initContainers.0.name",
            "web",
            'spec.initContainers[0].name: Duplicate value: "web"',
        ),
        (
            "spec.initContainers.0.livenessProbe",
            {"exec": {"command": ["x"]}},
            (
                "spec.initContainers[0].livenessProbe: Forbidden: "
                "may not be set for init containers without restartPolicy=Always"
            ),
        ),
        ("spec.volumes.1.name", "config", 'spec.volumes[1].name: Duplicate value: "config"'),
        (
            "spec.volumes.1.hostPath",
            {"path": "/"},
            "spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "spec.volumes.0.configMap.items.0.path",
            "../up",
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"../up\": must not contain '..'",
        ),
        (
            "spec.tolerations.0.effect",
            "NoSchedule",
            (
                'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
                "effect must be 'NoExecute' when `tolerationSeconds` is set"
            ),
        ),
        (
            "spec.topologySpreadConstraints.0.maxSkew",
            0,
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            "spec.hostAliases.0.ip",
            "nowhere",
            (
                'spec.hostAliases[0].ip: Invalid value: "nowhere": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ),
        ),
        (
            "spec.serviceAccountName",
            None,
            (
                "spec.volumes[2].projected.sources[0].serviceAccountToken: Forbidden: "
                "must not be specified when serviceAccountName is not set"
            ),
        ),
        (
            "spec.ephemeralContainers",
            [container(name="debug", resources=None)],
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "spec.securityContext.runAsUser",
            -1,
            (
                "spec.securityContext.runAsUser: Invalid value: -1: "
                "must be between 0 and 2147483647, inclusive"
            ),
        ),
        (
            "spec.securityContext.sysctls",
            [{"name": "A"}],
            (
                'spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 '
                "characters and match regex "
                r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            ),
        ),
        (
            "spec.terminationGracePeriodSeconds",
            None,
            "spec.terminationGracePeriodSeconds: Required value",
        ),
    ],
)
def test_wrong_pods_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(pods.validate(changed(RICH, path, value)))


def test_all_causes_come_at_once() -> None:
    wrong = changed(changed(pod(), "spec.containers.0.image", None), "spec.dnsPolicy", "No")
    assert len(pods.validate(wrong)) == 2


def test_images_may_change() -> None:
    assert pods.validate_update(changed(RICH, "spec.containers.0.image", "other"), RICH) == []
    assert pods.validate_update(RICH, RICH) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "spec.nodeName",
            "n",
            (
                "spec: Forbidden: pod updates may not change fields other than "
                "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
                "`spec.tolerations` (only additions to existing tolerations),"
                "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
                'negative)\n+ nodeName: "n"'
            ),
        ),
        (
            "spec.containers",
            [container(), container(name="more")],
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (
            "spec.tolerations",
            None,
            (
                "spec.tolerations: Forbidden: existing toleration can not be modified "
                "except its tolerationSeconds"
            ),
        ),
        (
            "spec.schedulingGates",
            [{"name": "x.io/gate"}],
            (
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, "
                "but found new scheduling gate 'x.io/gate'"
            ),
        ),
    ],
)
def test_little_else_may_change(path: str, value: Any, line: str) -> None:
    assert line in lines(pods.validate_update(changed(RICH, path, value), RICH))


def test_the_deadline_only_shrinks() -> None:
    old = pod(activeDeadlineSeconds=10)
    assert pods.validate_update(pod(activeDeadlineSeconds=5), old) == []
    (line,) = lines(pods.validate_update(pod(activeDeadlineSeconds=20), old))
    assert line.endswith("must be less than or equal to previous value")


def test_ended_containers_stay_ended() -> None:
    old = pod(restartPolicy="Never")
    old["status"] = {"containerStatuses": [{"name": "web", "state": {"terminated": {}}}]}
    new = changed(old, "status.containerStatuses.0.state", {"running": {}})
    assert lines(pods.validate_status_update(new, old)) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    assert pods.validate_status_update(old, old) == []


def test_ephemeral_containers_are_only_added() -> None:
    debug = container(name="debug")
    del debug["resources"]
    old, new = pod(), pod(ephemeralContainers=[debug])
    assert pods.validate_ephemeral_update(new, old) == []
    (line,) = lines(pods.validate_ephemeral_update(old, new))
    assert line.startswith(
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug"'
    )


def test_bindings() -> None:
    assert pods.validate_binding({"target": {"kind": "Node", "name": "n"}}) == []
    assert lines(pods.validate_binding({"target": {"kind": "Pod"}})) == [
        'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
        "target.name: Required value",
    ]


def test_a_deletion_cost_of_thousands_of_digits_is_refused() -> None:
    path = "controller.kubernetes.io/pod-deletion-cost"
    for text, is_fine in (
        ("9" * 5000, False),
        ("0" * 5000 + "7", True),
        ("-2147483648", True),
        ("-2147483649", False),
    ):
        thing = pod()
        thing["metadata"]["annotations"] = {path: text}
        assert (pods.validate(thing) == []) is is_fine


def test_the_name_of_a_sysctl_ends_where_it_ends() -> None:
    context = {"sysctls": [{"name": "kernel.shm\n", "value": "1"}]}
    (line,) = lines(pods.validate(pod(securityContext=context)))
    assert "must have at most 253 characters and match regex ^" in line


ONE_EACH = "may specify no more than one IP for each IP family"


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"podIPs": ["10.42.0.1", "fd00::1"], "hostIPs": ["192.0.2.1", "2001:db8::1"]}, []),
        ({"podIPs": ["fd00::1", "10.42.0.1"]}, []),
        ({"podIPs": ["10.42.0.1", "10.42.0.2"]}, [ONE_EACH]),
        ({"podIPs": ["10.42.0.1", "fd00::1", "fd00::2"]}, [ONE_EACH]),
        ({"podIPs": ["10.42.0.300"]}, ["must be a valid IP address"]),
        ({"hostIPs": ["2001:db8::1", "2001:db8::2"]}, [ONE_EACH]),
        ({"hostIPs": ["x"]}, ["must be a valid IP address"]),
        ({"hostIP": "192.0.2.9", "hostIPs": ["192.0.2.1"]}, ["must be equal to `hostIP`"]),
    ],
)
def test_a_pod_and_its_host_have_one_address_of_each_family(
    status: dict[str, Any], found: list[str]
) -> None:
    hosts = status.get("hostIPs", [])
    given = {
        "podIPs": [{"ip": text} for text in status.get("podIPs", [])],
        "hostIPs": [{"ip": text} for text in hosts],
        "hostIP": status.get("hostIP", hosts[0] if hosts else ""),
    }
    told = lines(pods.validate_status_update({"status": given}, {}))
    assert len(told) == len(found)
    assert all(words in line for words, line in zip(found, told, strict=True))
    assert [
        one
        for one in lines(pods.validate_status_update({"status": given}, {"status": given}))
        if "valid IP" in one
    ] == []
