"""The settings of a CRI-O of a test's own; kubelite starts none by itself."""

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
    """The folders of one CRI-O; all of its state is in one, but for what others are given."""

    top: Path
    storage: Path | None = None  # of images and containers
    plugins: Path | None = None
    configs: Path | None = None

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.top / "crio.sock"

    @property
    def programs(self) -> Path:
        """The folder of CNI plugins."""
        return self.plugins or self.top / "cni-bin"

    @property
    def networks(self) -> Path:
        """The folder of CNI configurations."""
        return self.configs or self.top / "net.d"

    @property
    def root(self) -> Path:
        """The folder of images and containers."""
        return self.storage or self.top / "root"

    @property
    def runtime_root(self) -> Path:
        """The folder in which runc keeps the containers that it runs."""
        return self.top / "runc"

    def arguments(self) -> list[str]:
        """Return how it is started; containers outlive it."""
        return ["crio", f"--config={self.top / 'crio.conf'}", "--config-dir="]

    def folders(self) -> tuple[Path, ...]:
        """Return the folders that have to be there."""
        own = (self.top / name for name in ("exits", "namespaces", "a", "logs"))
        return (*own, self.networks, self.programs)

    def files(self, *, overlay: bool) -> dict[Path, str]:
        """Return the content of the files that it is configured by; `overlay` if the storage can have one."""
        return {
            self.top / "policy.json": POLICY,
            self.runtime: self._wrapper(),
            self.top / "crio.conf": self._config("overlay" if overlay else "vfs"),
        }

    def prepare(self) -> None:
        """Make the folders and the configuration."""
        for folder in self.folders():
            folder.mkdir(parents=True, exist_ok=True)
        for path, text in self.files(overlay=has_overlay(self.top)).items():
            path.write_text(text)
        self.runtime.chmod(0o755)

    @staticmethod
    def _wrapper() -> str:
        capabilities = {f"CAP_{name.removeprefix('CAP_')}" for name in bounding_set()}
        runtime = _found("runc")
        return RUNTIME.format(python=sys.executable, runtime=runtime, capabilities=capabilities)

    @property
    def runtime(self) -> Path:
        """The program that runs containers."""
        return self.top / "runc-here"

    def _config(self, driver: str) -> str:
        return toml_text(
            {
                "crio": {
                    "root": str(self.root),
                    "runroot": str(self.top / "runroot"),
                    "storage_driver": driver,
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
                                "runtime_path": str(self.runtime),
                                "runtime_root": str(self.runtime_root),
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
