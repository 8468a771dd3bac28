"""A catalogue of broken environments: a start succeeds or says in one line what to do; none ends in a traceback."""

import http.client
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bench.clients import administrator
from testbed.hosts import SOURCE, Server, stop
from testbed.waiting import wait_for

from kubelite.api.auth.certificates import key_pem, new_key

READY_SECONDS = 30.0
POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"
OIDC = ("--oidc-issuer-url=https://issuer.example", "--oidc-client-id=a")


class Place:
    """A folder of a server, and how it is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.kubeconfig = folder / "kubeconfig"
        self.flags: list[str] = []
        self.prefix: list[str] = []  # what the server is started by
        self.environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self.before: Callable[[], None] = lambda: None  # in the new process

    def within(self, script: str, *unshared: str) -> None:
        """Start it in namespaces of its own, after a shell script."""
        self.prefix = ["unshare", *unshared, "sh", "-ec", f'{script}\nexec "$@"', "sh"]

    def file(self, name: str, content: bytes | str) -> Path:
        """Write a file that only its owner may read."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return path

    def start(self) -> tuple[int, str]:
        """Start a server, stop it once it is ready; return its exit code and what it said."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        flags = {
            "--data-dir": str(self.data),
            "--write-kubeconfig": str(self.kubeconfig),
            "--https-listen-port": str(port),
        }
        named = [f"{name}={value}" for name, value in flags.items()]
        line = [sys.executable, "-m", "kubelite", "server", "--disable-agent", *named, *self.flags]
        log = self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self.prefix, *line],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                preexec_fn=self.before,  # noqa: PLW1509 - what is broken is broken before the program starts
            )
        deadline = time.monotonic() + READY_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self.kubeconfig.is_file() and _is_ready(port, self.kubeconfig):
                break
            time.sleep(0.05)
        code = stop(process)
        return code, log.read_text(errors="replace")


def _is_ready(port: int, kubeconfig: Path) -> bool:
    """Tell whether the scheduler, which is the last part, has started; standard error may be closed."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=administrator(kubeconfig), timeout=10
    )
    try:
        connection.request("GET", "/api/v1/componentstatuses/scheduler")
        answer = connection.getresponse()
        return answer.status == 200 and b'"status":"True"' in answer.read()
    except OSError:
        return False
    finally:
        connection.close()


def assert_starts(place: Place, *words: str) -> None:
    code, said = place.start()
    assert code == 0, said
    assert "Traceback" not in said
    for word in words:
        assert word in said


def assert_refused(place: Place, pattern: str) -> None:
    code, said = place.start()
    refusals = [line for line in said.splitlines() if line.startswith("kubelite: ")]
    assert "Traceback" not in said, said
    assert "is ready" not in said
    [line] = refusals
    assert re.fullmatch(f"kubelite: ({pattern})", line), line
    assert said.splitlines()[-1] == line
    assert code == 1


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that has run once, with encrypted Secrets."""
    place = Place(tmp_path_factory.mktemp("golden"))
    place.flags = ["--secrets-encryption"]
    assert_starts(place)
    return place.folder


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    tmp_path.chmod(0o755)
    return Place(tmp_path)


@pytest.fixture
def used(tmp_path: Path, golden: Path) -> Place:
    """A copy of the folder of a server that has run."""
    shutil.copytree(golden, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path)
    place.kubeconfig.unlink()
    place.flags = ["--secrets-encryption"]
    return place


# The network


@pytest.mark.parametrize(
    ("script", "has_address"),
    [
        ("", False),
        ("ip link set lo up", False),
        ("ip link set lo up; ip address add 169.254.3.3/16 dev lo", False),
        ("ip link set lo up; ip address add 2001:db8::7/64 dev lo nodad", False),
        ("ip link set lo up; ip address add 192.0.2.7/24 dev lo", True),
        ("ip link set lo up; ip address add 10.42.0.1/24 dev lo", False),
    ],
    ids=["lo down", "lo up", "link-local", "IPv6 only", "no default route", "cluster's own"],
)
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
def test_networks(used: Place, script: str, has_address: bool) -> None:
    # Twice: without and with an existing cluster, which earlier had another address.
    used.within(script, "--net")
    said = "the host has no address"
    code, output = _start_inside(used)
    assert (code, "Traceback" in output) == (0, False), output
    assert (said in output) is not has_address


def _start_inside(place: Place) -> tuple[int, str]:
    """Start a server whose port cannot be reached from here: it is ready when it says so."""
    place.flags += ["--debug"]
    log = place.folder / "log"
    line = [sys.executable, "-m", "kubelite", "server", "--disable-agent", *place.flags]
    line += [f"--data-dir={place.data}", f"--write-kubeconfig={place.kubeconfig}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*place.prefix, *line], stdout=output, stderr=output, env=place.environment
        )
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if "is ready" in log.read_text(errors="replace"):
            break
        time.sleep(0.05)
    ready = "is ready" in log.read_text(errors="replace")
    code = stop(process)
    return (code if ready else 99), log.read_text(errors="replace")


def test_a_node_address_that_is_not_here(fresh: Place) -> None:
    fresh.flags = ["--node-ip=203.0.113.77"]
    assert_starts(fresh, "the configured node address is not on this host")


def test_a_bind_address_that_is_not_here(fresh: Place) -> None:
    fresh.flags = ["--bind-address=203.0.113.77"]
    assert_refused(
        fresh, r"cannot listen on 203.0.113.77:\d+: Cannot assign .*; see --bind-address"
    )


def test_a_taken_port(fresh: Place) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        fresh.flags = [f"--https-listen-port={taken.getsockname()[1]}"]
        assert_refused(
            fresh, r"cannot listen on .*: Address already in use; see --https-listen-port"
        )


# Folders and files


def test_a_data_folder_that_is_a_file(fresh: Place) -> None:
    fresh.data.write_text("")
    assert_refused(fresh, r"cannot use data folder .*/data: it is no folder; see --data-dir")


@pytest.mark.parametrize("name", ["db", "pki"])
def test_a_file_in_the_place_of_a_folder(used: Place, name: str) -> None:
    shutil.rmtree(used.data / name)
    (used.data / name).write_text("")
    assert_refused(used, rf"cannot .* in .*/{name}: it is no folder; .*")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_data_folder_that_may_not_be_read(fresh: Place) -> None:
    fresh.data.mkdir(mode=0o700)
    fresh.prefix = ["setpriv", "--reuid=4242", "--clear-groups"]
    fresh.folder.chmod(0o777)
    for folder in fresh.folder.parents:
        folder.chmod(folder.stat().st_mode | 0o011) if folder.stat().st_uid == 0 else None
    assert_refused(fresh, r"cannot use data folder .*/data: it is not writable; see --data-dir")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.parametrize("size", ["4k", "64k", "200k", "300k", "500k", "2m"])
def test_a_disk_that_is_too_small(fresh: Place, size: str) -> None:
    fresh.data.mkdir()
    fresh.within(f"mount -t tmpfs -o size={size} none {fresh.data}", "--mount")
    code, said = fresh.start()
    assert "Traceback" not in said, said
    if code:
        # LMDB tells of a disk that is full in the middle of a write as an error of input or output.
        assert re.match(
            r"kubelite: cannot .*(No space left on device|Input/output error)",
            said.splitlines()[-1],
        )


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_disk_that_is_read_only(used: Place) -> None:
    used.within(
        f"mount --bind {used.data} {used.data}; mount -o remount,ro,bind {used.data}", "--mount"
    )
    assert_refused(used, r"cannot use data folder .*/data: it is not writable; see --data-dir")


@pytest.mark.parametrize("where", ["/proc/nothing/config", "/dev/null/config"])
def test_a_kubeconfig_that_cannot_be_written(fresh: Place, where: str) -> None:
    fresh.flags = [f"--write-kubeconfig={where}"]
    assert_refused(fresh, rf"cannot write kubeconfig {where}: .*; see --write-kubeconfig")


KEY = key_pem(new_key())
DAMAGE = {"garbage": b"garbage", "empty": b"", "binary": bytes(range(256)), "other": KEY}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("ca.crt", "ca.key") for damage in DAMAGE),
        # Another key of service accounts is as good.
        *(("service-account.key", damage) for damage in DAMAGE if damage != "other"),
    ],
)
def test_damaged_keys(used: Place, name: str, damage: str) -> None:
    (used.data / "pki" / name).write_bytes(DAMAGE[damage])
    assert_refused(
        used,
        rf"cannot use the (CA|key) in .*/pki/{name}: .*; restore it from a backup|"
        r"cannot use the CA in .*/pki/ca.crt: .*; restore it from a backup",
    )


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_certificates_are_made_anew(used: Place, damage: str) -> None:
    for path in (used.data / "pki").glob("*.pem"):
        path.write_bytes(DAMAGE[damage])
    assert_starts(used, "certificate made")


def test_a_folder_in_the_place_of_a_key(used: Place) -> None:
    path = used.data / "pki" / "admin.pem"
    path.unlink()
    path.mkdir()
    assert_refused(used, r"cannot use the keys and certificates in .*/pki: Is a directory; .*")


def cut(path: Path, pages: int) -> None:
    os.truncate(path, pages * 4096)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"garbage" * 10_000),
        lambda path: cut(path, 3),
        lambda path: cut(path, path.stat().st_size // 8192),
        lambda path: path.write_bytes(path.read_bytes()[:8192] + bytes(65536)),
    ],
    ids=["garbage", "three pages", "half", "blank"],
)
def test_a_damaged_store(used: Place, damage: Callable[[Path], object]) -> None:
    damage(used.data / "db" / "data.mdb")
    assert_refused(used, r"cannot open store in .*/db: .*")


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"[]", bytes(range(256))])
def test_a_damaged_key_of_secrets(used: Place, content: bytes) -> None:
    (used.data / "secrets.key").write_bytes(content)
    assert_refused(used, r"cannot .*secrets.*")


def test_a_missing_key_of_secrets(used: Place) -> None:
    (used.data / "secrets.key").unlink()
    assert_refused(used, r"cannot open the store: Secrets in it are encrypted, and the key file .*")


@pytest.mark.parametrize(
    "content", [b"one,two\n", b"\xff\xfe", b'"a,b,c\n', b"a" * 200_000 + b",b,c\n"]
)
def test_malformed_tokens(fresh: Place, content: bytes) -> None:
    fresh.flags = [f"--token-auth-file={fresh.file('tokens', content)}"]
    assert_refused(fresh, r"cannot use .*/tokens: .*; see --token-auth-file")


@pytest.mark.parametrize(
    "content", [b"garbage", b"\xff", b"a: [\n", b"- 1\n", b"[" * 100_000, b"a: &a [*a]\n", b""]
)
def test_malformed_audit_policies(fresh: Place, content: bytes) -> None:
    fresh.flags = [f"--audit-policy-file={fresh.file('policy', content)}"]
    assert_refused(fresh, r"cannot audit by .*/policy: .*; see --audit-policy-file")


@pytest.mark.parametrize(
    "flag",
    [
        "--token-auth-file",
        "--audit-policy-file",
        "--oidc-ca-file",
        "--requestheader-client-ca-file",
    ],
)
@pytest.mark.parametrize(
    ("path", "reason"), [("/nothing", "No such file or directory"), ("/", "Is a directory")]
)
def test_files_that_are_not_there(fresh: Place, flag: str, path: str, reason: str) -> None:
    fresh.flags = [f"{flag}={path}", *OIDC]
    assert_refused(fresh, rf"cannot (use|audit by) {path}: {reason}; see {flag}")


def test_an_audit_log_that_is_a_folder(fresh: Place) -> None:
    fresh.flags = [f"--audit-policy-file={fresh.file('policy', POLICY)}", "--audit-log-path=/proc"]
    assert_refused(fresh, r"cannot audit by /proc: Is a directory; see --audit-log-path")


def test_authorities_that_are_none(fresh: Place) -> None:
    fresh.flags = [*OIDC, f"--oidc-ca-file={fresh.file('ca', 'garbage')}"]
    assert_refused(fresh, r"cannot use .*/ca: it has no certificate; see --oidc-ca-file")


def test_authorities_of_proxies(fresh: Place, used: Place) -> None:
    flag = "--requestheader-client-ca-file"
    fresh.flags = [f"{flag}={fresh.file('ca', 'garbage')}"]
    assert_refused(fresh, rf"cannot use .*/ca: it has no certificate; see {flag}")
    fresh.flags = ["--requestheader-allowed-names=sso"]
    assert_refused(fresh, rf"cannot use --requestheader-allowed-names: {flag} must be given too")
    used.flags = [f"{flag}={used.data / 'pki' / 'ca.crt'}"]
    assert_refused(used, rf"cannot use .*: it has the authority of the cluster's clients, .*{flag}")


# The process and its host


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams(used: Place, closed: Sequence[int]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    used.before = close
    assert_starts(used)
    # Nothing of the log went to a file that took the number of standard error.
    for path in used.data.rglob("*"):
        if path.is_file():
            assert b"net.host_addresses" not in path.read_bytes()


def test_a_reader_of_the_log_that_has_left(fresh: Place) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    fresh.before = lambda: os.dup2(writing, 2) and None  # type: ignore[assignment]  # dup2 returns 2
    try:
        assert_starts(fresh)
    finally:
        os.close(writing)


@pytest.mark.parametrize("limit", [12, 16, 24, 48, 63, 64, 100])
def test_few_open_files(fresh: Place, limit: int) -> None:
    fresh.before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit < 64:
        assert_refused(fresh, rf"cannot run with {limit} open files: at least 64 are needed; .*")
    else:
        assert_starts(fresh)


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_the_plainest_locale(fresh: Place, utf8: str) -> None:
    fresh.environment |= {"LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    fresh.environment["KUBELITE_TLS_SAN"] = "ümläut.example"
    assert_refused(fresh, r"cannot use --tls-san .*: must be a DNS name or an IP address")
    fresh.environment["KUBELITE_TLS_SAN"] = "plain.example"
    assert_starts(fresh)


def test_no_home(fresh: Place) -> None:
    fresh.environment.pop("HOME", None)
    assert_starts(fresh)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="renames a namespace's host")
@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("UPPER", True),
        ("under_score", False),
        ("a" * 60, False),
        ("-x", False),
        ("x.", False),
        ("", False),
    ],
)
def test_host_names(fresh: Place, name: str, starts: bool) -> None:
    rename = f"import socket; socket.sethostname({name!r})"
    fresh.within(f'{sys.executable} -c "{rename}"', "--uts")
    if starts:
        assert_starts(fresh)
    else:
        assert_refused(fresh, r"cannot call the node .*; give another with --node-name")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.parametrize("path", ["/etc/resolv.conf", "/etc/hosts"])
def test_files_of_the_host_that_are_empty(fresh: Place, path: str) -> None:
    fresh.within(f"mount --bind /dev/null {path}", "--mount")
    assert_starts(fresh)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KUBELITE_HTTPS_LISTEN_PORT", "many"), ("KUBELITE_DEBUG", "perhaps"), ("KUBELITE_ODD", "1")],
)
def test_wrong_variables(fresh: Place, variable: str, value: str) -> None:
    fresh.environment[variable] = value
    assert_refused(fresh, rf"cannot use .*{variable}.*")


# What users have done


@pytest.mark.parametrize(
    "role", ["system:kube-controller-manager", "system:kube-scheduler", "kubelite:network"]
)
def test_a_role_of_the_system_that_was_emptied(tmp_path: Path, role: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(None, tmp_path, "--disable-agent", port=taken.getsockname()[1])
    server.start()
    patch = {
        "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
        "rules": [],
    }
    server.kubectl("patch", "clusterrole", role, "--type=merge", "-p", json.dumps(patch))
    assert server.stop() == 0
    server.start()
    try:
        assert server.kubectl("get", "--raw", "/readyz") == "ok"
        said = server.kubectl("get", "componentstatuses")
        assert ("cannot" in said) is (role != "kubelite:network")
        server.kubectl("delete", "clusterrole", role)  # it comes back as it should be

        def healed() -> bool:
            return "cannot" not in server.kubectl("get", "componentstatuses")

        wait_for(healed, "parts that have started after all", 30)
        server.kubectl("create", "deployment", "x", "--image=x")
        wait_for(lambda: "x-" in server.kubectl("get", "replicasets"), "controllers that work", 10)
    finally:
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()


def test_another_service_range_than_before(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    first = Server(None, tmp_path, "--disable-agent", port=port)
    first.start()
    assert first.stop() == 0
    server = Server(None, tmp_path, "--disable-agent", "--service-cidr=10.50.0.0/16", port=port)
    server.start()
    try:
        said = server.kubectl("get", "componentstatuses", "system-objects", "-o", "json")
        assert "its address is 10.43.0.1, not 10.50.0.1 as configured" in said
        wait_for(lambda: "SystemObjectInconsistent" in server.kubectl("get", "events"), "event", 10)
        server.kubectl("delete", "service", "kubernetes")
        wait_for(
            lambda: "10.50.0.1" in server.kubectl("get", "service", "kubernetes", check=False),
            "the Service at its new address",
            10,
        )
    finally:
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
