"""Requests that an ordinary user may send and that cost much: the longest time each keeps others waiting.

A second client asks for /livez all the while; the slowest of its answers is the figure, since that is what another
user of the same loop sees. The law is 100 ms on this machine, whoever asks for whatever.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from testbed.hosts import Server

from bench.clients import administrator
from bench.report import Figure
from bench.wrk import free_port

JSON = dict[str, Any]
NAMESPACE = "/api/v1/namespaces/default"
PODS, CONFIG_MAPS = f"{NAMESPACE}/pods", f"{NAMESPACE}/configmaps"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
STRATEGIC, MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TIMEOUT_SECONDS = 120


class Request(Struct, frozen=True):
    """One request; a str or bytes body goes as it is."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"


class Expensive(Struct, frozen=True):
    """A request that is measured, and those that make what it is about."""

    name: str
    request: Request
    before: Sequence[Request] = ()


def measure(folder: Path) -> Iterator[Figure]:
    """Send each request to one server, with another client beside."""
    server = Server(None, folder, "--disable-agent", port=free_port())
    server.start()
    try:
        context = administrator(server.kubeconfig)
        probe = Probe(server.port, context)
        probe.start()
        for one in catalogue():
            for request in one.before:
                send(server.port, context, request)
            time.sleep(0.2)
            probe.reset()
            started = time.perf_counter()
            status, size = send(server.port, context, one.request)
            seconds = time.perf_counter() - started
            time.sleep(0.3)  # what the request set off: controllers, mirrors
            told = f"< 100; answered {status} in {seconds:.2f} s with {size / 1e3:,.0f} KB"
            yield Figure(f"expensive: {one.name}", probe.longest_seconds * 1e3, "ms", told)
        probe.stop()
    finally:
        server.stop()


class Probe(threading.Thread):
    """Asks for /livez all the time and remembers its slowest answer."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
        self._ends = threading.Event()
        self._since = time.perf_counter()
        self._longest = 0.0

    @property
    def longest_seconds(self) -> float:
        """The slowest answer since `reset`, one under way included."""
        return max(self._longest, time.perf_counter() - self._since)

    def reset(self) -> None:
        """Forget what was."""
        self._longest = 0.0

    def run(self) -> None:
        while not self._ends.wait(0.002):
            self._since = time.perf_counter()
            self._connection.request("GET", "/livez")
            self._connection.getresponse().read()
            self._longest = max(self._longest, time.perf_counter() - self._since)

    def stop(self) -> None:
        """End, and wait for it."""
        self._ends.set()
        self.join()


def send(port: int, context: ssl.SSLContext, request: Request) -> tuple[int, int]:
    """Send a request; return the status and the size of the answer."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=context, timeout=TIMEOUT_SECONDS
    )
    body = request.body
    if body is not None and not isinstance(body, bytes | str):
        body = json.dumps(body)
    try:
        connection.request(
            request.method, request.path, body, {"Content-Type": request.content_type}
        )
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except (TimeoutError, ConnectionError, http.client.HTTPException):
        return 0, 0
    finally:
        connection.close()


def catalogue() -> Iterator[Expensive]:
    """Yield every request."""
    yield from patches()
    yield from bodies()
    yield from pods()
    yield from others()


def config_map(name: str, keys: int) -> JSON:
    return {"metadata": {"name": name}, "data": {f"key-{number}": "v" for number in range(keys)}}


def patches() -> Iterator[Expensive]:
    """Yield patches whose work is more than their size."""
    plain = {"metadata": {"name": "list"}}
    revision = {
        "metadata": {"name": "long"},
        "revision": 1,
        "data": {"list": [0] * 500_000},
    }
    revisions = "/apis/apps/v1/namespaces/default/controllerrevisions"
    operations = [{"op": "add", "path": "/data/list/0", "value": 1}] * 10_000
    yield Expensive(
        "JSON patch, 10k operations on a list of 500k",
        Request("PATCH", f"{revisions}/long", operations, JSON_PATCH),
        [Request("POST", revisions, revision), Request("POST", CONFIG_MAPS, plain)],
    )
    wide = config_map("wide", 60_000)
    first = {"apiVersion": "v1", "kind": "ConfigMap", **wide}
    changed = {**first, "data": dict.fromkeys(wide["data"], "w")}
    target = f"{CONFIG_MAPS}/wide?fieldManager="
    yield Expensive("apply of 60k keys", Request("PATCH", f"{target}one", first, APPLY))
    yield Expensive(
        "apply that conflicts on 60k keys", Request("PATCH", f"{target}two", changed, APPLY)
    )
    yield Expensive(
        "forced apply of 60k keys", Request("PATCH", f"{target}two&force=true", changed, APPLY)
    )
    yield Expensive(
        "merge patch of 60k keys",
        Request("PATCH", f"{CONFIG_MAPS}/wide", {"data": wide["data"]}, MERGE),
    )
    managers = [
        {
            "manager": f"m{number}",
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {f"f:data-{number}": {"f:x": {}}},
        }
        for number in range(3000)
    ]
    owned = {"metadata": {"name": "owned", "managedFields": managers}}
    yield Expensive("3000 managedFields entries", Request("POST", CONFIG_MAPS, owned))
    order = {"metadata": {"$setElementOrder/finalizers": [f"a/{n}" for n in range(100_000)]}}
    yield Expensive(
        "$setElementOrder of 100k",
        Request("PATCH", f"{CONFIG_MAPS}/list", order, STRATEGIC),
    )


def bodies() -> Iterator[Expensive]:
    """Yield bodies that become more than they are, or whose errors do."""
    text = "x" * 1_000_000
    yaml = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: y}}\ndata:\n  a: &a {text}\n"
        + "".join(f"  b{number}: *a\n" for number in range(280))
    )
    yield Expensive(
        "YAML, aliases of a long text", Request("POST", CONFIG_MAPS, yaml, "application/yaml")
    )
    long = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z}\ndata:\n" + "".join(
        f"  k{number}: v\n" for number in range(150_000)
    )
    yield Expensive("YAML of 150k keys", Request("POST", CONFIG_MAPS, long, "application/yaml"))
    # A pod named x whose spec has as many empty containers.
    inner = b"\x0a\x03\x0a\x01x\x12" + varint(2 * 400_000) + b"\x12\x00" * 400_000
    unknown = b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12" + varint(len(inner)) + inner
    yield Expensive("protobuf with 400k empty entries", Request("POST", PODS, unknown, PROTOBUF))
    wrong = {"metadata": {"name": "w", "finalizers": ["-"] * 200_000}}
    yield Expensive("200k invalid entries", Request("POST", CONFIG_MAPS, wrong))
    yield Expensive(
        "1M small arrays", Request("POST", CONFIG_MAPS, b'{"data":[' + b"[]," * 999_000 + b"[]]}")
    )
    requirements = [{"key": "a", "operator": "In", "values": ["b"]}] * 45_000
    yield Expensive(
        "access review, 45k selector requirements",
        Request("POST", REVIEW, review({"requirements": requirements})),
    )
    yield Expensive(
        "access review, raw selector of 700k",
        Request("POST", REVIEW, review({"rawSelector": "a," * 700_000 + "a"})),
    )


def review(selector: JSON) -> JSON:
    """Return the question whether one may list the pods that `selector` selects."""
    attributes = {"verb": "list", "resource": "pods", "labelSelector": selector}
    return {"spec": {"resourceAttributes": attributes}}


def varint(number: int) -> bytes:
    """Encode a length for protobuf."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes((*encoded, number))


def pod(name: str, **spec: Any) -> JSON:
    containers = [{"name": "c", "image": "i"}]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def pods() -> Iterator[Expensive]:
    """Yield pods of a size nobody runs."""
    terms = [{"key": f"k{number}", "operator": "Exists"} for number in range(20_000)]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    yield Expensive(
        "pod, 20k matchExpressions", Request("POST", PODS, pod("terms", affinity=affinity))
    )
    env = [{"name": f"E{number}", "value": f"$(E{number - 1})"} for number in range(20_000)]
    containers = [{"name": "c", "image": "i", "env": env}]
    yield Expensive("pod, 20k env", Request("POST", PODS, pod("env", containers=containers)))
    volumes = [{"name": f"v{number}", "emptyDir": {}} for number in range(20_000)]
    mounts = [{"name": f"v{number}", "mountPath": f"/{number}"} for number in range(20_000)]
    containers = [{"name": "c", "image": "i", "volumeMounts": mounts}]
    yield Expensive(
        "pod, 20k volumes",
        Request("POST", PODS, pod("volumes", containers=containers, volumes=volumes)),
    )
    containers = [
        {"name": f"c{number}", "image": "i", "ports": [{"containerPort": number % 60_000 + 1}]}
        for number in range(5000)
    ]
    yield Expensive("pod, 5k containers", Request("POST", PODS, pod("many", containers=containers)))
    anti = [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {f"a{n}": "b"}}}
        for n in range(1500)
    ]
    spread = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": anti}}
    node = {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}}
    yield Expensive(
        "pod, 1500 anti-affinity terms",
        Request("POST", PODS, pod("anti", affinity=spread)),
        [Request("POST", "/api/v1/nodes", node)],
    )
    tolerations = [{"key": f"k{number}", "operator": "Exists"} for number in range(20_000)]
    yield Expensive(
        "pod, 20k tolerations", Request("POST", PODS, pod("tolerant", tolerations=tolerations))
    )


def others() -> Iterator[Expensive]:
    """Yield Services, policies and the like."""
    blocks = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(20_000)]
    ports = [{"port": 80}]
    service = {"type": "LoadBalancer", "ports": ports, "loadBalancerSourceRanges": blocks}
    services = f"{NAMESPACE}/services"
    yield Expensive(
        "Service, 20k source ranges",
        Request("POST", services, {"metadata": {"name": "ranges"}, "spec": service}),
    )
    addresses = [f"198.18.{number >> 8}.{number & 255}" for number in range(20_000)]
    service = {"ports": ports, "externalIPs": addresses}
    yield Expensive(
        "Service, 20k external addresses",
        Request("POST", services, {"metadata": {"name": "external"}, "spec": service}),
    )
    peers = [{"ipBlock": {"cidr": block}} for block in blocks[:10_000]]
    policy = {"podSelector": {}, "ingress": [{"from": peers}], "policyTypes": ["Ingress"]}
    policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    yield Expensive(
        "NetworkPolicy, 10k blocks",
        Request("POST", policies, {"metadata": {"name": "blocks"}, "spec": policy}),
    )
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [
        {
            "host": f"h{number}.example.com",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }
        for number in range(5000)
    ]
    ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    yield Expensive(
        "Ingress, 5k rules",
        Request("POST", ingresses, {"metadata": {"name": "rules"}, "spec": {"rules": rules}}),
    )
    selector = {"matchExpressions": [{"key": f"k{n}", "operator": "Exists"} for n in range(20_000)]}
    budget = {"metadata": {"name": "wide"}, "spec": {"minAvailable": 1, "selector": selector}}
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    yield Expensive("PodDisruptionBudget, 20k matchExpressions", Request("POST", budgets, budget))
    many = [Request("POST", CONFIG_MAPS, config_map(f"m{number}", 1)) for number in range(2000)]
    long = "%2C".join(f"k{number}%21%3Dv" for number in range(3000))
    yield Expensive(
        "LIST of 2000, 3k selector requirements",
        Request("GET", f"{CONFIG_MAPS}?labelSelector={long}"),
        many,
    )
