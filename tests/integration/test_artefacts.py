"""What kubelite is shipped as: built twice to the same bytes, and run as a service of a host that systemd has booted.

A zip application is built here from the packages of the test's own environment. `make dist-test` has those tried that
`make dist` has built, the single-file program among them, which takes too long to build for each run.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import ModuleType

import pytest
from testbed.booted import ADDRESS, BootedHost, booted_host, can_boot
from testbed.hosts import Host, missing_tools
from testbed.waiting import wait_for

ROOT = Path(__file__).parents[2]
BUILT = os.environ.get("DIST_FOLDER")
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "curl", "unshare")
KUBECTL = ("kubectl", "--kubeconfig=/etc/kubelite/kubelite.yaml")


def _has(name: str, *least: int) -> bool:
    try:
        return [int(part) for part in version(name).split(".")[: len(least)]] >= list(least)
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (_has("setuptools", 77) and _has("shiv", 1)) and not os.environ.get("CI"),
        reason="needs requirements/dist.txt",
    ),
]
needs_host = pytest.mark.skipif(
    (bool(MISSING) or not can_boot()) and not os.environ.get("CI"),
    reason=f"needs systemd, {', '.join(MISSING)}",
)


def _program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made  # one imports the other by its name
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    yield _program("build")
    del sys.modules["build"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kubelite and the packages that it needs."""
    return _copied_packages(tmp_path_factory.mktemp("site"))


def _building(*forms: str, out: Path, umask: int) -> subprocess.Popen[bytes]:
    line = [sys.executable, str(ROOT / "packaging" / "build.py"), str(out), *forms]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    return subprocess.Popen(line, umask=umask, stdout=subprocess.DEVNULL, env=environment)


def test_wheel_and_sdist_are_reproducible_and_whole(tmp_path: Path) -> None:
    outs = {tmp_path / "first": 0o022, tmp_path / "second": 0o077}
    building = [_building("wheel", "sdist", out=out, umask=umask) for out, umask in outs.items()]
    assert [each.wait(120) for each in building] == [0, 0]
    first, second = ({path.name: path.read_bytes() for path in out.iterdir()} for out in outs)
    assert sorted(name.rpartition("-")[2] for name in first) == ["0.1.0.tar.gz", "any.whl"]
    assert first == second
    (wheel,) = (tmp_path / "first").glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("kubelite/")}
    source = ROOT / "src"
    needed = {
        str(path.relative_to(source))
        for path in (source / "kubelite").rglob("*")
        if path.suffix in (".py", ".toml", ".yaml", ".json") or path.name == "py.typed"
    }
    assert packed == needed


def _closure(names: Sequence[str]) -> Iterator[str]:
    """Yield the names of packages and of all that they need here."""
    import re

    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:  # of another platform, or of an extra
            continue
        if name in seen:
            continue
        seen.add(name)
        yield name
        waiting += [
            re.split(r"[^A-Za-z0-9._-]", need)[0] for need in needs if "extra ==" not in need
        ]


def _copied_packages(folder: Path) -> Path:
    for name in _closure(["kubelite"]):
        if name == "kubelite":
            continue
        for file in distribution(name).files or ():
            target = folder / file
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    shutil.copytree(
        ROOT / "src" / "kubelite",
        folder / "kubelite",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # An entry point is looked up in what an installation knows of the package.
    about = folder / "kubelite-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kubelite\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[console_scripts]\nkubelite = kubelite.cli:main\n")
    return folder


@pytest.fixture(
    scope="module",
    params=[
        "zip",
        pytest.param("binary", marks=pytest.mark.skipif(not BUILT, reason="needs make dist")),
    ],
)
def artefact(
    request: pytest.FixtureRequest,
    build: ModuleType,
    site: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A form, and the file that was built."""
    if BUILT:
        name = "kubelite.pyz" if request.param == "zip" else f"kubelite-linux-{os.uname().machine}"
        return request.param, Path(BUILT).resolve() / name
    out = tmp_path_factory.mktemp("out")
    build.zip_application(site, out)
    return "zip", out / "kubelite.pyz"


@needs_host
@pytest.mark.docker
def test_each_form_runs_a_server_and_an_agent_as_services(artefact: tuple[str, Path]) -> None:
    form, file = artefact
    with booted_host("artefact") as host:
        host.run("mkdir", "/opt/kubelite")
        host.run("install", "-m", "755", str(file), "/opt/kubelite/kubelite")
        # Not that of the virtual environment, which may lie in a place that goes away.
        python = [str(Path(sys.executable).resolve())] if form == "zip" else []
        program = [*python, "/opt/kubelite/kubelite"]
        before = host.traces()
        told = host.run(
            *program, "install", "server", "--disable-agent", "--data-dir=/var/lib/plane"
        )
        assert "kubelite is ready after" in told
        assert host.run(*KUBECTL, "get", "--raw", "/readyz") == "ok"
        assert "kube-system" in host.run(*KUBECTL, "get", "namespaces", "-o", "name")
        _dies_and_comes_back(host)
        _agent_joins(host, program)
        told = host.run(*program, "uninstall", "--yes")
        assert "left the program" in told
        after = host.traces()
        left = {kind: sorted(set(after[kind]) ^ set(before[kind])) for kind in before}
        assert left == {kind: [] for kind in before}


def _dies_and_comes_back(host: BootedHost) -> None:
    """Kill the process that serves; the service manager starts another, and nothing of the former one is left."""
    former = host.property("kubelite.service", "MainPID")
    host.run("kill", "-9", former)
    wait_for(
        lambda: (
            host.property("kubelite.service", "NRestarts") == "1"
            and host.property("kubelite.service", "StatusText") == "ready"
        ),
        "restarted server",
        30,
    )
    servers = host.run("pgrep", "-f", "[k]ubelite server").split()
    assert former not in servers
    assert host.property("kubelite.service", "MainPID") in servers
    assert host.run(*KUBECTL, "get", "--raw", "/readyz") == "ok"
    unpacked = host.run("sh", "-c", "ls -d /var/cache/kubelite/_MEI* | wc -l").split()[-1]
    assert unpacked == str(int(host.property("kubelite.service", "NotifyAccess") == "all"))


def _agent_joins(host: BootedHost, program: Sequence[str]) -> None:
    """Join another data folder's node: its keys, its engine and its ingress proxy are programs beside it."""
    token = host.run(
        *program, "token", "create", "--kubeconfig=/etc/kubelite/kubelite.yaml"
    ).split()[-1]
    host.put("/run/token", token, "600")
    join = [f"--join=https://{ADDRESS}:6443", "--token-file=/run/token"]
    join += [f"--node-ip={ADDRESS}", "--node-name=joined"]
    stays = host.property("kubelite.service", "MainPID")
    host.run("systemd-run", "--unit=joined", "--setenv=HOME=/root", *program, "agent", *join)
    try:
        wait_for(
            lambda: (
                "condition met"
                in host.run(
                    *KUBECTL, "wait", "--for=condition=Ready", "nodes", "--all", check=False
                )
            ),
            "ready node",
            60,
            lambda: host.run("journalctl", "-u", "joined", "--no-pager"),
        )
        host.run(*KUBECTL, "create", "ingress", "one", "--rule=one.example/*=none:80")
        asks = ["curl", "-sS", "-m5", "-o/dev/null", "-w%{http_code}", "-Hhost: one.example"]
        wait_for(
            # The proxy knows the rule, and that its Service does not exist.
            lambda: host.run(*asks, f"http://{ADDRESS}/", check=False) == "503",
            "answer of the ingress",
            20,
            lambda: host.run("journalctl", "-u", "joined", "--no-pager"),
        )
    finally:
        host.run("systemctl", "stop", "joined")
        host.run("rm", "/run/token")
    assert host.property("kubelite.service", "MainPID") == stays
    told = host.run(*program, "reset", "--yes", check=False)
    assert "removed /var/lib/kubelite" in told, told


@pytest.mark.skipif(
    (bool(MISSING) or sys.version_info[:2] != (3, 11)) and not os.environ.get("CI"),
    reason=f"needs Python 3.11, {', '.join(MISSING)}",
)
@pytest.mark.docker
def test_the_image_runs_a_control_plane_without_rights(
    build: ModuleType, site: Path, tmp_path: Path
) -> None:
    image = _program("image")
    del sys.modules["image"]
    image.write_root(site, tmp_path / "root.tar")
    shutil.copy(ROOT / "packaging" / "Dockerfile", tmp_path)
    folder = Path(tempfile.mkdtemp(prefix="kubelite-image-"))
    host = Host("kubelite-image", folder)
    try:
        host.start_engine()
        host.docker("build", "--quiet", "--network=none", "--tag=kubelite", str(tmp_path))
        rights = [
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ]
        host.docker("run", "--detach", "--name=one", "--network=host", *rights, "kubelite")
        config = folder / "kubeconfig"
        wait_for(
            lambda: _copied(host, config),
            "kubeconfig",
            30,
            lambda: host.run("sh", "-c", f"docker -H unix://{host.socket} logs one 2>&1"),
        )
        kubectl = ["kubectl", f"--kubeconfig={config}"]
        assert (
            wait_for(
                lambda: host.run(*kubectl, "get", "--raw", "/readyz", check=False),
                "ready server",
                30,
            )
            == "ok"
        )
        assert "kube-system" in host.run(*kubectl, "get", "namespaces", "-o", "name")
        assert "Uid:\t65532" in host.docker(
            "exec", "one", "/usr/bin/python3.11", "-c", "print(open('/proc/1/status').read())"
        )
        host.docker("stop", "one")
        assert host.docker("inspect", "--format={{.State.ExitCode}}", "one").strip() == "0"
    finally:
        host.close()


def _copied(host: Host, config: Path) -> bool:
    host.docker("cp", "one:/var/lib/kubelite/kubelite.yaml", str(config), check=False)
    return config.exists()
