"""The hosts of a bed: engines, kubelite in its defaults, power cuts, and that nothing is left of it in any case."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from testbed import control_groups
from testbed.bed import Bed
from testbed.leftovers import remove_leftovers
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed

pytestmark = needs_bed
TESTS = Path(__file__).parents[1]

# Starts a bed with a running container, says what its processes are, and stays.
STAYS = """
import subprocess, sys, time
from testbed.bed import Bed
from testbed.topology import one_link
with Bed(one_link("alpha", "beta")) as bed:
    bed["alpha"].docker("load", "-qi", "/var/lib/kubelite/agent/images/hello.tar")
    bed["alpha"].docker("run", "-d", "--network=none", "kubelite.local/hello:1")
    bed.fabric.delay("alpha", sent=0.001)
    print(bed.folder, *(machine.pid for machine in bed), flush=True)
    time.sleep(600)
"""


def machine_state() -> dict[str, object]:
    """Return what a bed could leave on the machine."""
    names = (
        "ip -br link",
        "ip address",
        "ip route",
        "nft list ruleset",
        "ip netns list",
        "hostname",
    )
    shown: dict[str, object] = {
        name: subprocess.run(name.split(), capture_output=True, text=True).stdout for name in names
    }
    shown["mounts"] = Path("/proc/mounts").read_text()
    for folder in ("/run", "/var/run", "/var/lib", "/etc", "/var/log"):
        shown[folder] = sorted(map(str, Path(folder).iterdir()))
    return shown


def processes_of(folder: Path) -> list[str]:
    """Return the processes in a bed's control groups, and those that were told about its folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            groups = (process / "cgroup").read_text()
        except OSError:
            continue
        if str(folder) in line or f"/{folder.name}/" in groups:
            found.append(line or process.name)
    return found


def test_a_server_runs_with_its_defaults_and_nothing_of_the_machine_is_touched() -> None:
    before = machine_state()
    with Bed(one_link("alpha", "beta")) as bed:
        folder = bed.folder
        alpha, beta = bed["alpha"], bed["beta"]
        alpha.start_server()
        config = str(alpha.kubeconfig)
        ready = ("kubectl", f"--kubeconfig={config}", "wait", "--for=condition=Ready", "node/alpha")
        wait_for(lambda: "alpha" in alpha.run(*ready[:2], "get", "nodes"), "node", 20)
        alpha.run(*ready, "--timeout=30s")
        wait_for(lambda: "hello" in alpha.docker("images"), "image", 20)
        elsewhere = f"--server=https://{alpha.address}:6443"
        assert "alpha" in beta.run(*ready[:2], elsewhere, "get", "nodes")
        assert beta.containers() == {}
        assert alpha.run("hostname").strip() == "alpha"
        assert alpha.run("cat", "/etc/machine-id") != beta.run("cat", "/etc/machine-id")
        assert set(bed.logs()) == {"alpha/dockerd", "alpha/kubelite", "beta/dockerd"}
        assert beta.run("nft", "list", "ruleset") == ""
        assert control_groups.beds() >= {folder.name} or not control_groups.hierarchies()
        during = machine_state()
        assert during == before
    assert not folder.exists()
    assert not processes_of(folder)
    assert folder.name not in control_groups.beds()
    assert machine_state() == before


def test_a_host_may_have_containerd_instead_of_docker() -> None:
    before = machine_state()
    with Bed(one_link("alpha"), engine="containerd") as bed:
        folder = bed.folder
        alpha = bed["alpha"]
        alpha.engine_kind.load(alpha, alpha.images / "hello.tar")
        [name] = alpha.engine_kind.images(alpha)
        alpha.run("ctr", "-n", "k8s.io", "run", "-d", name, "one")
        assert any("/hello" in line for line in processes_of(folder))
        assert set(bed.logs()) == {"alpha/containerd"}
        assert machine_state() == before
    assert not processes_of(folder)
    assert machine_state() == before


def test_a_power_cut_ends_everything_and_the_disk_stays() -> None:
    with Bed(one_link("alpha")) as bed:
        alpha = bed["alpha"]
        alpha.docker("load", "-qi", "/var/lib/kubelite/agent/images/hello.tar")
        container = alpha.docker("run", "-d", "--network=none", "kubelite.local/hello:1")
        alpha.run("sh", "-c", "echo kept >/etc/note; echo gone >/run/note")
        identity = alpha.run("cat", "/etc/machine-id")
        alpha.power_off()
        assert not [line for line in processes_of(bed.folder) if "hello" in line]
        alpha.power_on()
        alpha.start_engine()
        assert alpha.run("cat", "/etc/note").strip() == "kept"
        assert "No such file" in alpha.run("cat", "/run/note", check=False)
        assert alpha.run("cat", "/etc/machine-id") == identity
        assert alpha.containers() == {container: "exited"}
        assert "eth0" in alpha.run("ip", "route", "show", "default")


def test_a_failure_inside_closes_the_bed() -> None:
    folder = Path()
    try:
        with Bed(one_link("alpha")) as bed:
            folder = bed.folder
            raise LookupError
    except LookupError:
        pass
    assert not processes_of(folder)
    assert not folder.exists()


def test_a_killed_run_takes_its_processes_along_and_the_next_one_removes_the_rest() -> None:
    line = [sys.executable, "-c", STAYS]
    run = subprocess.Popen(
        line, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    assert run.stdout is not None
    with run:
        try:
            name, *pids = run.stdout.readline().split()
            folder = Path(name)
            assert any("/hello" in line for line in processes_of(folder))
            assert folder.name not in remove_leftovers(), "it lives"
            assert (folder / "alpha").exists()
        finally:
            run.send_signal(signal.SIGKILL)
    wait_for(lambda: not processes_of(folder), "end of all processes", 10)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert folder.exists()
    assert folder.name in remove_leftovers()
    assert not folder.exists()
    assert folder.name not in control_groups.beds()


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("kubelite-bed-new", "kubelite-node-x"):  # one has no lock yet
        (tmp_path / name).mkdir()
    assert remove_leftovers(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 2
