"""When a machine tries to join again, starts without a server, or gives up."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.join_server import authority, pem_of
from fakes.keys import InProcess

from kubelite.api.auth.certificates import CLIENT_AUTH, Wanted, certificate_pem, issue
from kubelite.api.errors import Forbidden, ServiceUnavailable, TooManyRequests, Unauthorized
from kubelite.clock import SetClock
from kubelite.config import AgentConfig, ClusterSettings
from kubelite.joining import verify
from kubelite.joining.bootstrap import Bootstrap, Membership
from kubelite.joining.files import LEAVES, AgentFiles, Joined
from kubelite.joining.key_program import ensure_key
from kubelite.joining.refusal import CertificateRefused, JoinFailed, of_answer
from kubelite.joining.settings import ClusterInfo
from kubelite.prerequisites import CannotStart
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CLUSTER = ClusterInfo(ClusterSettings("10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "c"), "0.1.0")
URL, OTHER = "https://a:6443", "https://b:6443"
AWAY = JoinFailed("away", may_pass=True)
NO = JoinFailed("no")


class Scripted(Bootstrap):
    """Answers of servers by URL, one after the other; the last one stays."""

    def __init__(
        self, folder: Path, config: AgentConfig, **answers: list[JoinFailed | None]
    ) -> None:
        self.files = AgentFiles(folder / "agent", InProcess())
        self.files.prepare()
        super().__init__(config, self.files, SetClock(NOW), SeededRandomness(4))
        self.answers = answers
        self.tries = 0

    async def _join(self, server: str) -> ClusterInfo:
        self.tries += 1
        answers = self.answers[server[len("https://")]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is not None:
            raise answer
        return CLUSTER


def config(*servers: str, **more: str) -> AgentConfig:
    return AgentConfig(join=servers, node_name="n", **more)  # type: ignore[arg-type]  # texts only


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record pauses instead of making them."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


async def test_what_may_pass_is_tried_again_with_back_off_and_jitter(
    tmp_path: Path, pauses: list[float]
) -> None:
    machine = Scripted(tmp_path, config(URL), a=[*[AWAY] * 9, None])
    assert await machine.join() == Membership(URL, CLUSTER)
    assert len(pauses) == 9
    assert all(0.5 * 2**n <= pause <= 1.6 * 2**n for n, pause in enumerate(pauses[:5])), pauses
    assert all(15 <= pause <= 46 for pause in pauses[5:]), pauses
    assert len({round(pause, 3) for pause in pauses[5:]}) == 4  # no two alike
    assert machine.files.read_joined() == Joined((URL,), "n", CLUSTER)


async def test_a_reason_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    busy = JoinFailed("busy", may_pass=True)
    await Scripted(tmp_path, config(URL), a=[AWAY, AWAY, AWAY, busy, busy, None]).join()
    assert len(caplog.records) == 2


async def test_what_cannot_pass_ends_it_at_once(tmp_path: Path) -> None:
    machine = Scripted(tmp_path, config(URL), a=[NO])
    with pytest.raises(CannotStart, match=r"^no$"):
        await machine.join()
    assert machine.tries == 1


async def test_of_several_servers_the_first_that_answers_is_taken(tmp_path: Path) -> None:
    machine = Scripted(tmp_path, config(URL, OTHER), a=[AWAY], b=[None])
    assert (await machine.join()).server == OTHER
    machine = Scripted(tmp_path, config(), a=[None], b=[None])  # and both are remembered
    assert (await machine.join()).server == URL
    machine = Scripted(tmp_path, config(URL, OTHER), a=[NO], b=[AWAY, None])
    assert (await machine.join()).server == OTHER


def member(folder: Path, *, lifetime: timedelta = timedelta(days=1), name: str = "n") -> AgentFiles:
    """Make the files of a machine that has joined."""
    files, ca = AgentFiles(folder / "agent", InProcess()), authority(now=NOW)
    files.prepare()
    files.write_ca(pem_of(ca))
    for leaf in LEAVES:
        wanted = Wanted(f"system:node:{name}", usages=(CLIENT_AUTH,))
        public = ensure_key(files.key_path(leaf)).public_key()
        issued = issue(ca, public, wanted, NOW, SeededRandomness(1), lifetime)
        files.write_certificate(leaf, certificate_pem(issued))
    files.write_joined(Joined((URL,), name, CLUSTER))
    return files


async def test_a_member_starts_without_a_server(tmp_path: Path) -> None:
    member(tmp_path)
    machine = Scripted(tmp_path, config(), a=[AWAY])
    assert await machine.join() == Membership(URL, CLUSTER, is_reached=False)
    assert machine.tries == 1


@pytest.mark.parametrize("reason", ["expired", "other name", "no certificate", "no authorities"])
async def test_who_is_no_member_does_not_start_without_a_server(
    tmp_path: Path, reason: str
) -> None:
    lifetime = timedelta(seconds=-1) if reason == "expired" else timedelta(days=1)
    files = member(tmp_path, lifetime=lifetime, name="m" if reason == "other name" else "n")
    if reason == "no certificate":
        files.path(LEAVES[1]).unlink()
    if reason == "no authorities":
        files.ca_path.unlink()
    assert Scripted(tmp_path, config(), a=[AWAY])._last_known() is None


async def test_an_expired_certificate_needs_a_token(tmp_path: Path) -> None:
    member(tmp_path, lifetime=timedelta(seconds=-1))
    machine = Bootstrap(
        config(), AgentFiles(tmp_path / "agent", InProcess()), SetClock(NOW), SeededRandomness(1)
    )
    with pytest.raises(JoinFailed, match="the node's certificate expired on 2026-10-31 23:59 UTC"):
        machine._required(None)


async def test_a_token_of_another_cluster_does_not_move_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def same(_: str, __: datetime, known: bytes) -> bytes:
        return known

    monkeypatch.setattr(verify, "known_bundle", same)
    files = member(tmp_path)
    token = f"K10{'0' * 64}::abcdef.0123456789abcdef"
    machine = Bootstrap(config(token=token), files, SetClock(NOW), SeededRandomness(1))
    with pytest.raises(
        CannotStart, match=r"belongs to another cluster than the token; .*kubelite reset"
    ):
        await machine.join()


def test_a_token_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abcdef.0123456789abcdef\n")
    file.chmod(0o644)
    files = AgentFiles(tmp_path / "agent", InProcess())
    machine = Bootstrap(config(token_file=str(file)), files, SetClock(NOW), SeededRandomness(1))
    with pytest.raises(CannotStart, match="anybody may read or change it"):
        machine._token()
    file.chmod(0o600)
    token = machine._token()
    assert token is not None
    assert token.bearer == "abcdef.0123456789abcdef"
    file.write_text("abcdef\n")
    with pytest.raises(CannotStart, match=r"^cannot read the join token: ") as caught:
        machine._token()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "by_token", "may_pass", "text"),
    [
        (Unauthorized("Unauthorized"), True, False, "it never existed, has expired, was used"),
        (Unauthorized("it has expired"), True, False, "the token: it has expired; make a new one"),
        (Unauthorized("Unauthorized"), False, False, "does not accept this node's certificate; to"),
        (Unauthorized("deleted"), False, False, "this node's certificate: deleted; to join again"),
        (Forbidden("no"), True, False, "cannot read it at https://a:6443: no"),
        (Forbidden("no"), False, True, "no"),
        (ServiceUnavailable("away"), True, True, "away"),
        (TooManyRequests("busy"), True, True, "busy"),
    ],
)
def test_answers(error: Unauthorized, by_token: bool, may_pass: bool, text: str) -> None:
    failed = of_answer(URL, "read it", error, by_token=by_token)
    assert text in str(failed)
    assert failed.may_pass is may_pass
    assert isinstance(failed, CertificateRefused) is (type(error) is Unauthorized and not by_token)
