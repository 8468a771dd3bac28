"""An empty control plane imports nothing that only a node, or a feature that is not in use, needs."""

import subprocess
import sys

LAZY = {
    "aiodocker": "a node with an engine",
    "kubelite.api.registry.resource_metrics": "somebody who reads metrics.k8s.io",
    "kubelite.net.nftables": "a node",
    "kubelite.node": "a node",
    "kubelite.worker": "a node",
    "pyroute2": "a node",
    "yaml": "YAML in bodies, a config file or an audit policy",
    "zoneinfo": "a CronJob with a time zone",
}


def test_a_control_plane_imports_what_it_uses() -> None:
    program = f"import kubelite.server, sys; print(*(set({list(LAZY)}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert [f"{name}: for {LAZY[name]}" for name in done.stdout.split()] == []
