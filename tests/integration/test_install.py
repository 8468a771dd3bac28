"""A server as a service of a host that systemd has booted: install, run pods, upgrade in place, uninstall."""

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.booted import ADDRESS, BootedHost, booted_host, can_boot
from testbed.hosts import missing_tools
from testbed.waiting import wait_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "unshare")
KUBECTL = ("kubectl", "--kubeconfig=/etc/kubelite/kubelite.yaml")
SERVICE = "kubelite.service"
ENTRY = "#!{python}\nimport sys\nfrom kubelite.cli import main\nsys.exit(main())\n"

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        (bool(MISSING) or not can_boot()) and not os.environ.get("CI"),
        reason=f"needs systemd, {', '.join(MISSING)}",
    ),
]


@pytest.fixture(scope="module")
def host() -> Iterator[BootedHost]:
    with booted_host("installed") as host:
        for name in ("first", "second"):
            _put_program(host, name)
        yield host


def _put_program(host: BootedHost, name: str) -> None:
    """Make a virtual environment with an entry point, as pip does, which uses the packages of the test's own."""
    folder = f"/opt/{name}"
    host.run(sys.executable, "-m", "venv", "--without-pip", folder)
    packages = f"{folder}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    lines = f"{ROOT / 'src'}\n{sysconfig.get_path('purelib')}\n"
    host.put(f"{packages}/kubelite.pth", lines)
    host.put(f"{folder}/bin/kubelite", ENTRY.format(python=f"{folder}/bin/python"), "755")


def _pods(host: BootedHost) -> dict[str, str]:
    """Return the container of each running pod of `hello`, by the pod's name."""
    listed = json.loads(host.run(*KUBECTL, "get", "pods", "-l", "app=hello", "-o", "json"))
    found = {}
    for item in listed["items"]:
        for status in item["status"].get("containerStatuses", []):
            if status.get("ready") and status["restartCount"] == 0:
                found[item["metadata"]["name"]] = status["containerID"]
    return found


def _server(host: BootedHost) -> str:
    return host.property(SERVICE, "MainPID")


def test_a_service_from_its_installation_to_its_end(host: BootedHost) -> None:
    before = host.traces()

    told = host.run("/opt/first/bin/kubelite", "install", "server", f"--node-ip={ADDRESS}")
    assert "kubelite is ready after" in told
    assert "linked /usr/local/bin/kubelite to /opt/first/bin/kubelite" in told
    assert host.run("systemctl", "is-enabled", SERVICE).strip() == "enabled"
    assert host.property(SERVICE, "ActiveState") == "active"
    assert host.property(SERVICE, "StatusText") == "ready"
    assert host.run(*KUBECTL, "get", "--raw", "/readyz") == "ok"

    images = "/var/lib/kubelite/agent/images"
    host.run("mkdir", "-p", images)
    host.run(sys.executable, str(EXAMPLE / "image.py"), f"{images}/hello.tar")
    host.run("kubelite", "install", "server", f"--node-ip={ADDRESS}", "--tls-san=other.example")
    host.run(*KUBECTL, "apply", "-f", str(EXAMPLE))
    host.run(*KUBECTL, "rollout", "status", "deployment/hello", "--timeout=90s")
    pods = _pods(host)
    assert pods
    server = _server(host)

    told = host.run("/opt/second/bin/kubelite", "install", "server")
    assert "keeping the flags and variables" in told
    assert _server(host) != server
    unit = host.run("cat", f"/etc/systemd/system/{SERVICE}")
    assert "ExecStart=/opt/second/bin/kubelite server" in unit
    assert "--tls-san=other.example" in unit
    assert "condition met" in host.run(*KUBECTL, "wait", "--for=condition=Ready", "nodes", "--all")
    # A probe must succeed again before the node calls a container ready; one that was restarted never comes back here.
    wait_for(
        lambda: _pods(host) == pods,
        "pods as before",
        30,
        lambda: f"{pods} {_pods(host)} {host.run('journalctl', '--unit=kubelite', '--lines=40')}",
    )

    told = host.run("/opt/second/bin/kubelite", "uninstall", "--yes")
    assert "left the program, /opt/second/bin/kubelite" in told
    after = host.traces()
    assert {kind: sorted(set(after[kind]) ^ set(before[kind])) for kind in before} == {
        kind: [] for kind in before
    }
    assert (
        host.run("/opt/second/bin/kubelite", "uninstall", "--yes")
        == "there is nothing to uninstall\n"
    )
