"""`kubelite token` against a real server: verbs, identities, rights and TLS."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from fakes.joining import NOW, JoiningCluster
from fakes.serving import parts_of, serving

from kubelite.api.auth.caller import Credentials
from kubelite.api.auth.join_token import JoinToken
from kubelite.api.errors import Unauthorized
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import encoded
from kubelite.cli import main
from kubelite.join_tokens import TokenFailed, identifier_of, parse_ttl, time_left

Invoke = Callable[..., Awaitable[Result]]


class Door:
    """A cluster behind HTTPS, and the command line of its administrator."""

    def __init__(self, cluster: JoiningCluster, kubeconfig: Path) -> None:
        self.cluster = cluster
        self.kubeconfig = kubeconfig

    async def token(self, *arguments: str) -> Result:
        command = ["token", *arguments, "--kubeconfig", str(self.kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, main, command)

    async def user(self, token: str) -> str:
        caller = await self.cluster.plane.authenticator.authenticate(
            Credentials(bearer_token=JoinToken.parse(token).bearer)
        )
        return caller.user


@pytest.fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    cluster = JoiningCluster(tmp_path)
    await cluster.plane.bootstrap("192.0.2.1", 6443)
    monkeypatch.setattr("kubelite.clock.SystemClock", lambda: cluster.clock)
    plane = cluster.plane
    parts = parts_of(plane.verbs, authenticator=plane.authenticator, authorizer=plane.authorizer)
    async with serving(parts, ssl_context=cluster.pki.server_context()) as (_, port):
        path = tmp_path / "admin.yaml"
        path.write_text(cluster.pki.kubeconfig(f"https://127.0.0.1:{port}"))
        yield Door(cluster, path)


async def test_a_token_is_printed_alone_and_opens_the_door(door: Door) -> None:
    made = await door.token("create")
    assert (made.exit_code, made.stderr) == (0, "")
    token = JoinToken.parse(made.stdout)
    assert made.stdout == f"{token}\n"
    assert token.ca_hash == door.cluster.pki.ca_hash
    assert await door.user(made.stdout) == f"system:bootstrap:{token.id}"
    data = await door.cluster.secret(f"bootstrap-token-{token.id}")
    assert data is not None
    assert data["expiration"] == "2026-09-02T00:00:00Z"
    assert data["auth-extra-groups"] == "system:bootstrappers:kubelite:agent"
    assert "usage-once" not in data


async def test_tokens_of_every_kind_are_listed_without_their_secrets(door: Door) -> None:
    assert (await door.token("list")).stdout.split() == [
        "ID", "KIND", "TTL", "ONE-TIME", "USED-BY", "DESCRIPTION",
    ]  # fmt: skip
    tokens = [
        JoinToken.parse((await door.token("create", *arguments)).stdout)
        for arguments in (
            ("--ttl=0", "--description", "for ever"),
            ("--kind=server", "--ttl=90m"),
            ("--one-time", "--description", "\x1b[2Jrack\n7"),
        )
    ]
    data = await door.cluster.secret(f"bootstrap-token-{tokens[2].id}")
    assert data is not None
    await door.cluster.root.patch(
        Secret,
        f"bootstrap-token-{tokens[2].id}",
        {"data": encoded({"used-by-node": "one", "used-by-request": "u"})},
        "kube-system",
    )
    listed = await door.token("list")
    rows = {line.split()[0]: re.split(r" {3,}", line)[1:] for line in listed.stdout.splitlines()}
    assert rows[tokens[0].id] == ["agent", "forever", "no", "-", "for ever"]
    assert rows[tokens[1].id] == ["server", "90m", "no", "-", "-"]
    assert rows[tokens[2].id] == ["agent", "24h", "yes", "one", "\ufffd[2Jrack\ufffd7"]
    assert not any(token.secret in listed.output for token in tokens)


async def test_tokens_that_others_made_are_listed_too(door: Door) -> None:
    meta = ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system")
    data = {"token-id": "abcdef", "expiration": "2026-08-01T00:00:00Z"}
    await door.cluster.root.create(
        Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=encoded(data))
    )
    await door.cluster.root.create(
        Secret(metadata=ObjectMeta(name="other", namespace="kube-system"), type="Opaque")
    )
    _, row = (await door.token("list")).stdout.splitlines()
    assert row.split() == ["abcdef", "-", "expired", "no", "-", "-"]


async def test_tokens_are_deleted_by_id_or_as_a_whole(door: Door) -> None:
    first, second, third = [JoinToken.parse((await door.token("create")).stdout) for _ in range(3)]
    done = await door.token("delete", str(first), second.bearer, "zzzzzz", third.id)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [f"token {t.id} deleted" for t in (first, second, third)]
    assert (
        done.stderr
        == "kubelite: cannot delete token zzzzzz: there is no such token; see kubelite token list\n"
    )
    for token in (first, second, third):
        with pytest.raises(Unauthorized):
            await door.user(str(token))


async def test_nothing_is_deleted_if_an_argument_is_no_token(door: Door) -> None:
    token = JoinToken.parse((await door.token("create")).stdout)
    done = await door.token("delete", token.id, "junk")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "kubelite: cannot delete a token: its ID must have 6 lower-case letters or digits, "
        "and has 4 characters\n"
    )
    assert await door.user(str(token))


async def test_without_the_right_nothing_is_made(door: Door) -> None:
    config = yaml.safe_load(door.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "abcdef.0123456789abcdef"}
    door.kubeconfig.write_text(yaml.safe_dump(config))
    refused = await door.token("create")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        "kubelite: cannot create a token: Unauthorized; see --kubeconfig, and kubelite status\n"
    )


async def test_a_server_of_another_cluster_gets_no_request(door: Door, tmp_path: Path) -> None:
    other = JoiningCluster(tmp_path / "other")
    config = yaml.safe_load(door.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(
        other.pki.ca_pem
    ).decode()
    door.kubeconfig.write_text(yaml.safe_dump(config))
    refused = await door.token("list")
    assert refused.exit_code == 1
    assert "certificate verify failed" in refused.stderr
    assert refused.stderr.count("\n") == 1


async def test_a_server_that_is_down_is_one_line(door: Door) -> None:
    config = yaml.safe_load(door.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    door.kubeconfig.write_text(yaml.safe_dump(config))
    for command in (("create",), ("list",), ("delete", "abcdef")):
        refused = await door.token(*command)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "cannot reach https://127.0.0.1:1" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_wrong_lifetime_asks_no_server() -> None:
    result = CliRunner().invoke(main, ["token", "create", "--ttl", "1 day", "--kubeconfig", "/no"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "kubelite: cannot use --ttl '1 day': must be a duration such as 30m or 24h, or 0 for ever\n"
    )


def test_the_kubeconfig_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/first:{tmp_path}/second")
    (tmp_path / "second").write_text("[]")
    result = CliRunner().invoke(main, ["token", "list"])
    assert result.stderr == (
        f"kubelite: cannot use kubeconfig {tmp_path}/second: it holds no clusters and users\n"
    )
    (tmp_path / "second").unlink()
    result = CliRunner().invoke(main, ["token", "list"])
    assert result.stderr == (
        f"kubelite: cannot read kubeconfig {tmp_path}/first: No such file or directory\n"
    )
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBELITE_WRITE_KUBECONFIG", f"{tmp_path}/written")
    result = CliRunner().invoke(main, ["token", "list"])
    assert f"{tmp_path}/written: No such file" in result.stderr


@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        ("24h", timedelta(days=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1s", timedelta(seconds=1)),
        ("87600h", timedelta(days=3650)),
        ("0", None),
        ("0s", None),
    ],
)
def test_lifetimes(text: str, ttl: timedelta | None) -> None:
    assert parse_ttl(text) == ttl


@pytest.mark.parametrize("text", ["", "24", "-1h", "1d", "500ms", "87601h", "9" * 90 + "h", "\n"])
def test_no_lifetimes(text: str) -> None:
    with pytest.raises(TokenFailed, match="cannot use --ttl") as raised:
        parse_ttl(text)
    assert "\n" not in str(raised.value)


def test_identifiers() -> None:
    whole = f"K10{'0' * 64}::abcdef.0123456789abcdef"
    assert [identifier_of(text) for text in (whole, whole[69:], "abcdef")] == ["abcdef"] * 3
    for text in ("", "abcde", "ABCDEF", "../../x", whole[:-1], "abc def"):
        with pytest.raises(TokenFailed, match="cannot delete a token"):
            identifier_of(text)


def test_time_left() -> None:
    assert time_left("", NOW) == "forever"
    assert time_left("2026-09-01T00:30:00Z", NOW) == "30m"
    assert time_left("2026-09-01T00:00:00Z", NOW) == "expired"
    assert time_left("soon", NOW) == "invalid"
