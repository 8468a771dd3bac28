"""What identities, authorization and audit cost: the same GET with all of it, and with as little as can be."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from testbed.hosts import Server

from bench.processes import cpu_seconds
from bench.report import Figure
from bench.wrk import free_port, wrk

CLIENTS = 32
ROUNDS, SECONDS = 3, 4  # the two take turns, so that other load on the machine meets both
PATH = "/api/v1/namespaces/default/configmaps/one"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata}]
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Start two servers: one with audit, asked by a narrow service account, one asked by an administrator."""
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "tokens.csv").touch(mode=0o600)
    (folder / "tokens.csv").write_text("masters-token,master,1,system:masters\n")
    flags = {
        "on": f"--audit-policy-file={folder / 'policy.yaml'}",
        "off": f"--token-auth-file={folder / 'tokens.csv'}",
    }
    with ExitStack() as running:
        servers: dict[str, Server] = {}
        for name, flag in flags.items():
            (folder / name).mkdir()
            server = servers[name] = Server(
                None, folder / name, "--disable-agent", flag, port=free_port()
            )
            server.start()
            running.callback(server.stop)
            server.kubectl("create", "configmap", "one", f"--from-literal=a={'x' * 300}")
        tokens = {"on": _narrow_token(servers["on"]), "off": "masters-token"}
        used, requests = dict.fromkeys(flags, 0.0), dict.fromkeys(flags, 0)
        for _ in range(ROUNDS):
            for name, server in servers.items():
                before = cpu_seconds(server.pid)
                load = wrk(server, tokens[name], PATH, CLIENTS, seconds=SECONDS)
                used[name] += cpu_seconds(server.pid) - before
                requests[name] += load.requests
        each = {name: used[name] / requests[name] * 1e6 for name in flags}
        yield Figure("rights: CPU of a GET, no audit, system:masters", each["off"], "us")
        yield Figure("rights: CPU of a GET, audit Metadata, narrow Role", each["on"], "us")
        cost = (each["on"] / each["off"] - 1) * 100
        yield Figure("rights: what RBAC and audit add", cost, "%", "<= 20")


def _narrow_token(server: Server) -> str:
    server.kubectl("create", "serviceaccount", "reader")
    rights = "--verb=get", "--resource=configmaps", "--resource-name=one"
    server.kubectl("create", "role", "reader", *rights)
    bound = "--role=reader", "--serviceaccount=default:reader"
    server.kubectl("create", "rolebinding", "reader", *bound)
    return server.kubectl("create", "token", "reader").strip()
