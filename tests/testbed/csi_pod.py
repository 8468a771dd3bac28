"""The tests' CSI driver as a program, and the manifests with which it runs in a pod, as real drivers do.

It needs no image of its own: the pod shows it the host's Python with its libraries, read-only.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubelite.grpc.server import GrpcServer
from kubelite.node.csi.messages import Capability
from testbed.csi_driver import ALL, HostPathDriver

REPOSITORY = Path(__file__).parents[2]
NAME = "hostpath.example.com"
SECONDS = 0.2  # between two looks at how many calls there were


def driver_pod(kubelet: Path, disks: Path, image: str) -> dict[str, Any]:
    """Return the driver's pod with the mounts of a real one; `disks` is where its volumes are on the host."""
    program = sys.executable, str(REPOSITORY / "tests/testbed/csi_pod.py")
    shown = {
        "socket": (f"{kubelet}/plugins/{NAME}", "/csi", ""),
        "registration": (f"{kubelet}/plugins_registry", "/registration", ""),
        "pods": (f"{kubelet}/pods", f"{kubelet}/pods", "Bidirectional"),
        "plugins": (f"{kubelet}/plugins", f"{kubelet}/plugins", "Bidirectional"),
        "dev": ("/dev", "/dev", ""),
        "disks": (str(disks), str(disks), ""),
    }
    volumes = [
        {"name": name, "hostPath": {"path": source, "type": "DirectoryOrCreate"}}
        for name, (source, _, _) in shown.items()
    ]
    mounts: list[dict[str, Any]] = [
        {"name": name, "mountPath": target}
        | ({"mountPropagation": propagation} if propagation else {})
        for name, (_, target, propagation) in shown.items()
    ]
    for number, folder in enumerate(_host_folders()):
        name = f"host-{number}"
        volumes.append({"name": name, "hostPath": {"path": str(folder), "type": "Directory"}})
        mounts.append({"name": name, "mountPath": str(folder), "readOnly": True})
    container = {
        "name": "driver",
        "image": image,
        "command": [*program, str(kubelet), str(disks)],
        "env": [
            {"name": "PYTHONPATH", "value": f"{REPOSITORY}/src:{REPOSITORY}/tests"},
            # The image has no cache of the host's libraries.
            {"name": "LD_LIBRARY_PATH", "value": f"{sys.base_prefix}/lib"},
        ],
        "securityContext": {"privileged": True},
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "csi-driver"},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": volumes,
        },
    }


def _host_folders() -> list[Path]:
    """Return the folders that Python needs, without those that are in another one."""
    own = Path(sys.executable).resolve().parents[1]
    wanted = [Path(sys.base_prefix), Path(sys.prefix), own, REPOSITORY, Path("/usr"), Path("/lib")]
    folders = sorted({path for path in (*wanted, Path("/lib64")) if path.exists()})
    return [one for one in folders if not any(other in one.parents for other in folders)]


async def serve(kubelet: Path, disks: Path) -> None:
    """Serve the driver until a signal ends the container; each call is a line of output."""
    capabilities = (*ALL, Capability.GET_VOLUME_STATS)
    endpoint = f"{kubelet}/plugins/{NAME}/csi.sock"
    driver = HostPathDriver(disks, endpoint=endpoint, capabilities=capabilities)
    handlers = driver.handlers()
    sockets = (Path("/csi/csi.sock"), Path(f"/registration/{NAME}-reg.sock"))
    servers = [GrpcServer(socket, handlers) for socket in sockets]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    for server in servers:
        await server.start()
    said = 0
    while not ended.is_set():
        for name in driver.names[said:]:
            sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        said = len(driver.names)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SECONDS)
    for server in reversed(servers):
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
