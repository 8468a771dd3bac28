"""The settings of a CRI-O of a test's own, all of whose state is in one folder; kubelite starts none by itself."""

import shutil
import sys
from pathlib import Path

from msgspec import Struct

from kubelite.node import pause_image
from kubelite.node.capabilities import bounding_set
from kubelite.node.containerd import has_overlay, toml_text

# CRI-O gives each sandbox an OOM score below its own, and privileged containers all capabilities. A host that withholds
# some refuses both, so the runtime is told what this host has.
RUNTIME = """#!{python} -IS
import json, os, sys
if "create" in sys.argv and "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(path) as file:
        spec = json.load(file)
    with open("/proc/self/oom_score_adj") as file:
        least = int(file.read())
    process = spec["process"]
    process["oomScoreAdj"] = max(process.get("oomScoreAdj", least), least)
    sets = process.get("capabilities", dict())
    for name in sets:
        sets[name] = [one for one in sets[name] if one in {capabilities!r}]
    with open(path, "w") as file:
        json.dump(spec, file)
os.execv("{runtime}", ["runc", *sys.argv[1:]])
"""
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class CrioFolders(Struct, frozen=True):
    """The folders of one CRI-O."""

    top: Path

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.top / "crio.sock"

    @property
    def programs(self) -> Path:
        """The folder of CNI plugins."""
        return self.top / "cni-bin"

    @property
    def networks(self) -> Path:
        """The folder of CNI configurations."""
        return self.top / "net.d"

    def arguments(self) -> list[str]:
        """Return how it is started; containers outlive it."""
        return ["crio", f"--config={self.top / 'crio.conf'}", "--config-dir="]

    def prepare(self) -> None:
        """Make the folders and the configuration."""
        for name in ("exits", "namespaces", "a", "logs", "net.d", "cni-bin"):
            (self.top / name).mkdir(parents=True, exist_ok=True)
        (self.top / "policy.json").write_text(POLICY)
        self._runtime.write_text(self._wrapper())
        self._runtime.chmod(0o755)
        (self.top / "crio.conf").write_text(self._config())

    @staticmethod
    def _wrapper() -> str:
        capabilities = {f"CAP_{name.removeprefix('CAP_')}" for name in bounding_set()}
        runtime = _found("runc")
        return RUNTIME.format(python=sys.executable, runtime=runtime, capabilities=capabilities)

    @property
    def _runtime(self) -> Path:
        return self.top / "runc-here"

    def _config(self) -> str:
        return toml_text(
            {
                "crio": {
                    "root": str(self.top / "root"),
                    "runroot": str(self.top / "runroot"),
                    "storage_driver": "overlay" if has_overlay(self.top) else "vfs",
                    "log_dir": str(self.top / "logs"),
                    "version_file": str(self.top / "version"),
                    "clean_shutdown_file": str(self.top / "clean"),
                    "api": {"listen": str(self.socket)},
                    "runtime": {
                        "container_exits_dir": str(self.top / "exits"),
                        "container_attach_socket_dir": str(
                            self.top / "a"
                        ),  # the path of a socket in it is 72 bytes longer and may have 107
                        "namespaces_dir": str(self.top / "namespaces"),
                        "cgroup_manager": "cgroupfs",
                        "conmon_cgroup": "pod",
                        "apparmor_profile": "unconfined",
                        "pinns_path": _found("pinns"),
                        "default_runtime": "runc",
                        "hooks_dir": [],
                        "runtimes": {
                            "runc": {
                                "runtime_path": str(self._runtime),
                                "runtime_root": str(self.top / "runc"),
                                "monitor_path": _found("conmon"),
                                "monitor_cgroup": "pod",
                            }
                        },
                    },
                    "image": {
                        "pause_image": pause_image.NAME,
                        "signature_policy": str(self.top / "policy.json"),
                    },
                    "network": {
                        "network_dir": str(self.networks),
                        "plugin_dirs": [str(self.programs)],
                    },
                    "nri": {"enable_nri": False},
                }
            }
        )


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed"
    return path
