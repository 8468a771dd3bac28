"""Images from a real registry: pull, digest, login, pull policies, and what the status says when it fails."""

import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.hosts import Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "docker-registry")
LOCAL = "kubelite.local/hello:1"
OPEN, CLOSED = "127.0.0.1:5000", "127.0.0.1:5001"  # engines speak plain HTTP to loopback addresses
USER, PASSWORD = "user", "secret"
# Of that password: the registry takes nothing but bcrypt, which the standard library does not make.
LOGINS = f"{USER}:$2b$04$Q3RGvz8Q2zbDmvZ9RwJehu3Xi2guaSu7sanw9fq0BJCK2LPtanl6C\n"
OTHER, MINE = f"{OPEN}/other:1", "mine:1"
AWAY, NAMED = "127.0.0.1:5009", "localhost:5001"  # the latter is CLOSED by its other name
REGISTRIES = f"""
mirrors:
  r.example:
    endpoint: ["http://{AWAY}", "http://{NAMED}"]
    rewrite: {{"^team/(.*)": "$1"}}
configs:
  "{NAMED}":
    auth: {{username: {USER}, password: {PASSWORD}}}
"""
CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "{address}"}}
log: {{level: error}}
{auth}
"""

# A program that gives the login for whoever has a token for the audience, if the account asks for it.
PROVIDER, AUDIENCE, WANTS = "token-login", "registry.example", "registry.example/login"
PROVIDERS = f"""
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: {PROVIDER}
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["127.0.0.1:5001"]
  defaultCacheDuration: 0s
  tokenAttributes:
    serviceAccountTokenAudience: {AUDIENCE}
    cacheType: ServiceAccount
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: [{WANTS}]
"""
PROGRAM = f"""#!{sys.executable}
import base64, json, sys
asked = json.load(sys.stdin)
middle = asked["serviceAccountToken"].split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
assert claims["aud"] == ["{AUDIENCE}"], claims
assert "pod" in claims["kubernetes.io"], claims
login = dict(username="{USER}", password=asked["serviceAccountAnnotations"]["{WANTS}"])
print(json.dumps(dict(
    kind="CredentialProviderResponse",
    apiVersion="credentialprovider.kubelet.k8s.io/v1",
    cacheKeyType="Registry",
    auth={{"{CLOSED}": login}},
)))
"""
AUDIENCE_RIGHT = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: audience}}
rules:
- {{apiGroups: [""], resources: [{AUDIENCE}], verbs: [request-serviceaccounts-token-audience]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: audience}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: audience}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:nodes"}}]
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-images-"))
    host = Host("kubelite-images", folder)
    registries = []
    try:
        host.start_engine()
        registries = [_registry(host, OPEN, ""), _registry(host, CLOSED, _auth(folder))]
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(folder / "hello.tar"))
        host.docker("load", "-i", str(folder / "hello.tar"))
        host.docker("tag", LOCAL, f"{OPEN}/hello:1")
        wait_for(lambda: "Pushed" in host.docker("push", f"{OPEN}/hello:1", check=False), "push")
        host.docker("push", f"{OPEN}/hello:1")
        for name in (OTHER, MINE):  # images of their own, with the same files
            made = host.docker("create", LOCAL).strip()
            host.docker("commit", "--change", f"LABEL name={name}", made, name)
            host.docker("rm", made)
        host.docker("push", OTHER)
        host.docker("rmi", LOCAL, f"{OPEN}/hello:1", OTHER)
        (folder / "registries.yaml").write_text(REGISTRIES)
        (folder / "providers.yaml").write_text(PROVIDERS)
        (folder / "providers").mkdir()
        (folder / "providers" / PROVIDER).write_text(PROGRAM)
        (folder / "providers" / PROVIDER).chmod(0o755)
        server = Server(
            host,
            folder,
            f"--private-registry={folder}/registries.yaml",
            f"--image-credential-provider-config={folder}/providers.yaml",
            f"--image-credential-provider-bin-dir={folder}/providers",
        )
        server.start()
        try:
            wait_for(lambda: " Ready" in server.kubectl("get", "nodes"), "ready node")
            yield server
        finally:
            server.stop()
    finally:
        for registry in registries:
            registry.kill()
            registry.wait()
        host.close()


def _auth(folder: Path) -> str:
    (folder / "logins").write_text(LOGINS)
    return f"auth: {{htpasswd: {{realm: test, path: {folder}/logins}}}}"


def _registry(host: Host, address: str, auth: str) -> Any:
    config = host.folder / f"registry-{address.rpartition(':')[2]}.yml"
    config.write_text(CONFIG.format(folder=host.folder, address=address, auth=auth))
    return host.start(config.stem, "docker-registry", "serve", str(config))


def _run(server: Server, name: str, image: str, **spec: Any) -> None:
    policy = spec.pop("policy", "IfNotPresent")
    container = {"name": "app", "image": image, "imagePullPolicy": policy}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
    server.kubectl("create", "-f", "-", stdin=json.dumps(pod))


def _status(server: Server, name: str) -> dict[str, Any]:
    pod = json.loads(server.kubectl("get", "pod", name, "-o", "json"))
    found: list[dict[str, Any]] = pod["status"].get("containerStatuses", [{}])
    return found[0]


def _ready(server: Server, name: str) -> dict[str, Any]:
    server.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    return _status(server, name)


def _waits(server: Server, name: str, reason: str) -> str:
    def message() -> str:
        waiting = _status(server, name).get("state", {}).get("waiting", {})
        return str(waiting["message"]) if waiting.get("reason") == reason else ""

    return wait_for(message, reason)


def _events(server: Server, name: str) -> list[str]:
    listed = json.loads(
        server.kubectl("get", "events", f"--field-selector=involvedObject.name={name}", "-o=json")
    )
    return [f"{item['type']} {item['reason']} {item['message']}" for item in listed["items"]]


def test_an_image_is_pulled_once_by_tag_and_again_by_policy(server: Server) -> None:
    assert server.host is not None
    image = f"{OPEN}/hello:1"
    _run(server, "absent", image, policy="Never")
    expected = f'Container image "{image}" is not present with pull policy of Never'
    assert _waits(server, "absent", "ErrImageNeverPull") == expected

    _run(server, "first", image)
    status = _ready(server, "first")
    assert status["image"] == image
    assert status["imageID"].startswith(f"{OPEN}/hello@sha256:")
    told = "\n".join(_events(server, "first"))
    assert f'Normal Pulling Pulling image "{image}"' in told
    assert f'Normal Pulled Successfully pulled image "{image}" in ' in told

    _run(server, "present", image)
    _ready(server, "present")
    told = "\n".join(_events(server, "present"))
    assert f'Container image "{image}" already present on machine' in told
    assert "Pulling" not in told

    _run(server, "always", image, policy="Always")
    _ready(server, "always")
    assert f'Normal Pulling Pulling image "{image}"' in "\n".join(_events(server, "always"))

    _run(server, "never", image, policy="Never")
    _ready(server, "never")


def test_an_image_is_pulled_by_digest(server: Server) -> None:
    assert server.host is not None
    _run(server, "tagged", f"{OPEN}/hello:1")
    digest = _ready(server, "tagged")["imageID"].rpartition("@")[2]
    image = f"{OPEN}/hello@{digest}"
    _run(server, "digest", image, policy="Always")
    assert _ready(server, "digest")["imageID"].endswith(image)


def test_a_registry_that_wants_a_login_gets_that_of_the_pull_secrets(server: Server) -> None:
    assert server.host is not None
    image = f"{CLOSED}/hello:1"
    _run(server, "stranger", image)
    assert "no basic auth credentials" in _waits(server, "stranger", "ErrImagePull")
    for name, password in (("wrong", "guess"), ("right", PASSWORD)):
        login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        config = json.dumps({"auths": {CLOSED: {"auth": login}}})
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "stringData": {".dockerconfigjson": config},
        }
        server.kubectl("create", "-f", "-", stdin=json.dumps(secret))
    _run(server, "refused", image, imagePullSecrets=[{"name": "wrong"}])
    assert "unauthorized" in _waits(server, "refused", "ErrImagePull")
    # As upstream, every login for the registry is tried in turn.
    both = [{"name": "wrong"}, {"name": "right"}, {"name": "missing"}]
    _run(server, "known", image, imagePullSecrets=both)
    _ready(server, "known")


def test_a_program_gives_logins_for_the_token_of_a_pods_account(server: Server) -> None:
    assert server.host is not None
    image, log = f"{CLOSED}/hello:1", server.log
    server.kubectl("create", "serviceaccount", "puller")
    server.kubectl("annotate", "serviceaccount", "puller", f"{WANTS}={PASSWORD}")
    _run(server, "no-right", image, policy="Always", serviceAccountName="puller")
    assert "no basic auth credentials" in _waits(server, "no-right", "ErrImagePull")
    refused = f'audience "{AUDIENCE}" not found in pod spec volume, system:node:'
    assert refused in log.read_text().replace("\\", "")
    server.kubectl("apply", "-f", "-", stdin=AUDIENCE_RIGHT)
    _run(server, "told", image, policy="Always", serviceAccountName="puller")
    _ready(server, "told")
    _run(server, "other", image, policy="Always")
    assert "no basic auth credentials" in _waits(server, "other", "ErrImagePull")
    _run(server, "known-account", image, serviceAccountName="puller")
    _ready(server, "known-account")
    said = [one for one in _events(server, "known-account") if " Pulled " in one]
    assert all("already present on machine" in one for one in said), "the record has the account"
    server.kubectl("delete", "pod", "no-right", "told", "other", "known-account", "--wait=false")


def test_an_image_that_a_login_pulled_is_not_for_pods_without_it(server: Server) -> None:
    assert server.host is not None
    image = f"{CLOSED}/hello:1"
    login = json.dumps({"auths": {CLOSED: {"username": USER, "password": PASSWORD}}})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "owner"},
        "stringData": {".dockerconfigjson": login},
    }
    server.kubectl("create", "-f", "-", stdin=json.dumps(secret))
    _run(server, "owner", image, imagePullSecrets=[{"name": "owner"}], policy="Always")
    _ready(server, "owner")
    _run(server, "rider", image)
    assert "no basic auth credentials" in _waits(server, "rider", "ErrImagePull")
    _run(server, "never-rider", image, policy="Never")
    assert "is not present with pull policy of Never" in _waits(
        server, "never-rider", "ErrImageNeverPull"
    )
    _run(server, "again", image, imagePullSecrets=[{"name": "owner"}])
    _ready(server, "again")
    assert "Pulling" not in "\n".join(_events(server, "again"))
    missing = _run_with_a_missing_secret(server)
    assert (
        "Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (absent); "
        "attempting to pull the image may not succeed."
    ) in missing


def _run_with_a_missing_secret(server: Server) -> list[str]:
    image = f"{OPEN}/hello:1"
    _run(server, "secretless", image, imagePullSecrets=[{"name": "absent"}], policy="Always")
    _ready(server, "secretless")
    return _events(server, "secretless")


def test_a_mirror_serves_an_image_under_its_own_name(server: Server) -> None:
    assert server.host is not None
    image = "r.example/team/hello:1"
    _run(server, "mirrored", image)
    status = _ready(server, "mirrored")
    assert status["image"] == image
    digest = status["imageID"].rpartition("@")[2]
    assert image in server.host.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    # The node's login pulled it, so every pod may use it.
    _run(server, "mirrored-too", image, policy="Never")
    _ready(server, "mirrored-too")
    _run(server, "mirrored-digest", f"r.example/team/hello@{digest}")
    _ready(server, "mirrored-digest")
    _run(server, "mirrored-digest-never", f"r.example/team/hello@{digest}", policy="Never")
    _ready(server, "mirrored-digest-never")


def test_what_cannot_be_pulled_backs_off_in_upstreams_words(server: Server) -> None:
    image = f"{OPEN}/nothing:1"
    _run(server, "nothing", image)
    error = _waits(server, "nothing", "ErrImagePull")
    assert "manifest unknown" in error
    message = _waits(server, "nothing", "ImagePullBackOff")
    assert message == f'Back-off pulling image "{image}": ErrImagePull: {error}'
    told = _events(server, "nothing")
    assert f'Warning Failed Failed to pull image "{image}": {error}' in told
    assert "Warning Failed Error: ErrImagePull" in told
    assert f'Normal BackOff Back-off pulling image "{image}"' in told
    assert "Warning Failed Error: ImagePullBackOff" in told
    assert "ImagePullBackOff" in server.kubectl("get", "pod", "nothing")
    _run(server, "invalid", "not//an:image")
    assert "couldn't parse image name" in _waits(server, "invalid", "InvalidImageName")


def test_after_a_restart_unused_images_of_the_node_go_and_its_logins_still_count(
    server: Server,
) -> None:
    host = server.host
    assert host is not None
    _run(server, "brief", OTHER)
    _ready(server, "brief")
    server.kubectl("delete", "pod", "brief")
    server.stop()
    flags = (
        "--image-gc-high-threshold=1",
        "--image-gc-low-threshold=0",
        "--minimum-image-ttl-duration=0s",
    )
    server.flags += flags
    server.start()

    def names() -> str:
        return host.docker("images", "--format", "{{.Repository}}:{{.Tag}}")

    wait_for(lambda: OTHER not in names(), "removal of the unused image")
    left = names()
    assert f"{OPEN}/hello:1" in left  # pods run it
    assert MINE in left  # somebody else's
    assert "kubelite" in left  # that of sandboxes
    listed = json.loads(
        server.kubectl(
            "get", "events", "-n=default", "--field-selector=involvedObject.kind=Node", "-o=json"
        )
    )
    told = [f"{item['reason']} {item['message']}" for item in listed["items"]]
    assert any(
        "Insufficient free disk space on the node's image filesystem" in line for line in told
    )
    _run(server, "later-rider", f"{CLOSED}/hello:1")
    assert "no basic auth credentials" in _waits(server, "later-rider", "ErrImagePull")
