"""A cluster on the hosts of a bed: a server, the agents that joined it, and what a test asks of them."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence

from testbed.api import NODES, PODS, Api, Object, is_going, is_ready, name_of
from testbed.bed import Bed
from testbed.machine import Machine
from testbed.waiting import wait_for

IMAGE = "kubelite.local/hello:1"
PORT = 8080  # of the image's server, which answers with the pod's name
DNS = "10.43.0.10"
SHELL = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"


class Cluster:
    """The server on one host and the agents on others."""

    def __init__(self, bed: Bed, server: str, *flags: str) -> None:
        """Start the server; its node is Ready when this returns."""
        self.bed = bed
        self.server = bed[server]
        self.server.start_server(*flags)
        self.api = Api(self.server.pid, self.server.kubeconfig)
        self.url = f"https://{self.server.address}:6443"
        self.ready_nodes([server])

    def token(self, *flags: str) -> str:
        """Create a join token and return its secure form."""
        kubelite = self.server.kubelite.program("token", "create", *flags)
        return self.server.run(*kubelite).strip()

    def join(self, *names: str, flags: Sequence[str] = ()) -> None:
        """Have agents on these hosts join, all at once; their nodes are Ready when this returns."""
        token = self.token()
        for name in names:
            self.bed[name].kubelite.begin("agent", "--join", self.url, "--token", token, *flags)
        for name in names:
            self.bed[name].kubelite.until_ready()
        self.ready_nodes(names)

    def rejoin(self, *names: str) -> None:
        """Start agents again on hosts that have joined, as after a boot."""
        for name in names:
            self.bed[name].kubelite.begin("agent")
        for name in names:
            self.bed[name].kubelite.until_ready()

    def reconnect(self) -> None:
        """Use the server's host as it is now, after a power cut."""
        self.api = Api(self.server.pid, self.server.kubeconfig)

    def kubectl(
        self,
        *arguments: str,
        on: Machine | None = None,
        check: bool = True,
        stdin: str = "",
        timeout_seconds: float = 90,
    ) -> str:
        """Run the stock kubectl as administrator, on the server's host or another one."""
        line = self.kubectl_line(*arguments, on=on)
        machine = on or self.server
        done = subprocess.run(
            machine.command(*line, only_network=True),
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout_seconds,
            env=machine.environment(),
        )
        if check and done.returncode:
            raise AssertionError(
                f"kubectl {' '.join(arguments)} failed: {done.stdout}{done.stderr}\n{self.api.describe()}"
            )
        return done.stdout if check else done.stdout + done.stderr

    def kubectl_line(self, *arguments: str, on: Machine | None = None) -> list[str]:
        """Return the command line of kubectl for a host."""
        where = [] if on in (None, self.server) else [f"--server={self.url}"]
        return ["kubectl", f"--kubeconfig={self.server.kubeconfig}", *where, *arguments]

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", stdin=text)

    # What the cluster is like

    def nodes(self) -> dict[str, Object]:
        """Return the nodes by name."""
        return {name_of(node): node for node in self.api.items(NODES)}

    def pods(self, app: str = "") -> list[Object]:
        """Return the pods, or those with a label `app`."""
        query = {"labelSelector": f"app={app}"} if app else {}
        return self.api.items(PODS, **query)

    def places(self, app: str) -> Counter[str]:
        """Return how many pods of `app` that are not going each node has."""
        return places(self.pods(app))

    def restarts(self) -> dict[str, int]:
        """Return how often each container was restarted, by namespace/pod/container and its pod's uid."""
        return {
            f"{pod['metadata']['namespace']}/{name_of(pod)}/{one['name']}/{pod['metadata']['uid']}": (
                one["restartCount"]
            )
            for pod in self.pods()
            for one in pod["status"].get("containerStatuses", [])
        }

    def describe(self) -> str:
        """Return what the cluster looks like."""
        return self.api.describe()

    # Waiting

    def ready_nodes(self, names: Iterable[str], timeout_seconds: float = 30) -> None:
        """Wait until these nodes are Ready."""
        wanted = set(names)
        self.api.until(
            NODES,
            lambda nodes: wanted <= {name_of(node) for node in nodes if is_ready(node)},
            f"ready nodes {sorted(wanted)}",
            timeout_seconds,
        )

    def ready_pods(self, app: str, number: int, timeout_seconds: float = 60) -> list[Object]:
        """Wait until `app` has exactly so many pods, all Ready and none going; return them."""

        def look(pods: list[Object]) -> list[Object] | None:
            good = [pod for pod in pods if is_ready(pod) and not is_going(pod)]
            return pods if len(good) == len(pods) == number else None

        what = f"{number} ready pods of {app}"
        selector = f"app={app}"
        return self.api.until(PODS, look, what, timeout_seconds, labelSelector=selector)

    def no_pods(self, app: str, timeout_seconds: float = 60) -> None:
        """Wait until `app` has no pods."""
        selector = f"app={app}"
        self.api.until(
            PODS, lambda pods: not pods, f"end of {app}", timeout_seconds, labelSelector=selector
        )

    # Asking pods and services

    def ask(self, machine: Machine, address: str, port: int = PORT) -> str:
        """Ask a web server from a host; empty when there is no answer."""
        url = f"http://{address}:{port}/"
        return machine.run("curl", "-sS", "-m", "3", url, check=False, only_network=True).strip()

    def ask_from_pod(self, pod: str, address: str, port: int = PORT) -> str:
        """Ask a web server from a pod, by address or name; the answer's last line, or what failed."""
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} {port}"
        said = self.kubectl("exec", pod, "--", "sh", "-c", script, check=False)
        return said.strip().splitlines()[-1].strip() if said.strip() else ""

    def answers(self, machine: Machine, address: str, port: int, wanted: set[str]) -> None:
        """Wait until a service has been answered by each of these pods; a service picks by chance."""
        seen: set[str] = set()

        def look() -> bool:
            seen.add(self.ask(machine, address, port))
            return wanted <= seen

        wait_for(
            look, f"answers of {wanted} to {machine.name}", 30, lambda: f"{seen}\n{self.describe()}"
        )


def places(pods: Iterable[Object]) -> Counter[str]:
    """Return how many of the pods that are not going each node has."""
    return Counter(pod["spec"].get("nodeName", "") for pod in pods if not is_going(pod))


def deployment(
    name: str,
    replicas: int,
    *,
    toleration_seconds: int | None = None,
    is_spread: bool = True,
    **template: object,
) -> Object:
    """Return a Deployment of the example's server, a pod per node as far as they reach."""
    labels = {"app": name}
    spec = {**_pod_spec(toleration_seconds), **template}
    if is_spread:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
                # Pods of a former revision are on their way out.
                "matchLabelKeys": ["pod-template-hash"],
                # A node that is cordoned or lost is no place to wait for.
                "nodeTaintsPolicy": "Honor",
            }
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def stateful_set(name: str, replicas: int, *, toleration_seconds: int | None = None) -> Object:
    """Return a StatefulSet of the example's server with a pod on each node."""
    labels = {"app": name}
    spec = _pod_spec(toleration_seconds)
    spec["affinity"] = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": labels},
                }
            ]
        }
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, *, node_port: int = 0, is_headless: bool = False) -> Object:
    """Return a Service of port 80 for the pods with that label."""
    port: Object = {"port": 80, "targetPort": PORT}
    spec: Object = {"selector": {"app": name}, "ports": [port]}
    if node_port:
        spec["type"] = "NodePort"
        port["nodePort"] = node_port
    if is_headless:
        spec["clusterIP"] = "None"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def pod_on(node: str, name: str, script: str = SHELL, **spec: object) -> Object:
    """Return a pod with a shell on a certain node."""
    container = {
        "name": "shell",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def _pod_spec(toleration_seconds: int | None) -> Object:
    spec: Object = {
        "terminationGracePeriodSeconds": 2,
        "containers": [
            {
                "name": "hello",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": PORT},
                    "periodSeconds": 1,
                },
            }
        ],
    }
    if toleration_seconds is not None:
        spec["tolerations"] = [
            {
                "key": f"node.kubernetes.io/{reason}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": toleration_seconds,
            }
            for reason in ("not-ready", "unreachable")
        ]
    return spec
