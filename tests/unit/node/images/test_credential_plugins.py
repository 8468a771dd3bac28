"""Programs that give logins for images."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import CREDENTIAL_ANSWERS, PROGRAM_OUTPUT
from kubelite.node.images import credential_plugins
from kubelite.node.images.credential_config import CredentialProvider, TokenAttributes
from kubelite.node.images.credential_plugins import CredentialPlugins
from kubelite.node.images.logins import AccountSource, Login
from kubelite.node.images.pull_accounts import AccountUnavailable, PullAccount
from kubelite.tasks import TaskSet

V1 = "credentialprovider.kubelet.k8s.io/v1"
SECRET = "s3cret"
NAMED = Login("r.io", "user", SECRET)


def answer(**fields: Any) -> dict[str, Any]:
    kind = {"kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": "Image"}
    return {**kind, "auth": {"r.io": {"username": "user", "password": SECRET}}, **fields}


@pytest.fixture
async def tasks() -> AsyncIterator[TaskSet]:
    made = TaskSet()
    yield made
    await made.stop()


class Bed:
    """A program in the shell that notes what it is asked."""

    def __init__(self, folder: Path, tasks: TaskSet) -> None:
        self.folder = folder
        self.asked = folder / "asked"
        self.asked.touch()
        self.tasks = tasks

    def plugins(self, script: str, **fields: Any) -> CredentialPlugins:
        file = self.folder / "plugin"
        file.write_text(f'#!/bin/sh\ncat >> {self.asked}\necho "" >> {self.asked}\n{script}\n')
        file.chmod(0o755)
        known = {"match_images": ("r.io", "*.r.io"), "cache_seconds": 0.0, **fields}
        return CredentialPlugins([CredentialProvider("plugin", file, V1, **known)], self.tasks)

    def answering(self, response: Any, **fields: Any) -> CredentialPlugins:
        text = response if isinstance(response, str) else json.dumps(response)
        (self.folder / "answer").write_text(text)
        return self.plugins(f"cat {self.folder}/answer", **fields)

    def questions(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.asked.read_text().splitlines()]

    def images(self) -> list[str]:
        return [one["image"] for one in self.questions()]


@pytest.fixture
def bed(tmp_path: Path, tasks: TaskSet) -> Bed:
    return Bed(tmp_path, tasks)


async def test_a_program_is_asked_for_the_images_that_it_is_for(bed: Bed) -> None:
    plugins = bed.answering(answer())
    assert await plugins.logins("r.io/a") == [NAMED]
    assert await plugins.logins("x.r.io/b") == [NAMED]
    assert await plugins.logins("other.io/a") == []
    request = {"kind": "CredentialProviderRequest", "apiVersion": V1}
    assert bed.questions() == [{**request, "image": "r.io/a"}, {**request, "image": "x.r.io/b"}]


async def test_arguments_and_environment_are_the_programs(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "before")
    said = json.dumps(answer(auth={"r.io": {"username": "@U", "password": "@P"}}))
    script = f"""echo '{said}' | sed "s/@U/$1 $2/; s/@P/$KEPT $CHANGED/" """
    plugins = bed.plugins(script, arguments=("a", "b c"), environment=(("CHANGED", "after"),))
    assert await plugins.logins("r.io/a") == [Login("r.io", "a b c", "kept after")]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("Image", ["r.io/a", "r.io/b", "x.r.io/a"]),
        ("Registry", ["r.io/a", "x.r.io/a"]),
        ("Global", ["r.io/a"]),
    ],
)
async def test_an_answer_is_kept_for_what_it_says(bed: Bed, kind: str, asked: list[str]) -> None:
    plugins = bed.answering(answer(cacheKeyType=kind, cacheDuration="1h"))
    for image in ("r.io/a", "r.io/b", "r.io/a", "x.r.io/a", "r.io/a"):
        assert await plugins.logins(image) == [NAMED]
    assert bed.images() == asked


@pytest.mark.parametrize(
    ("duration", "default", "asked"),
    [(None, 0, 2), (None, 60, 1), ("0s", 60, 2), ("-1s", 60, 2), ("1m", 0, 1), ("1ns", 60, 2)],
)
async def test_an_answer_is_kept_for_so_long(
    bed: Bed, duration: str | None, default: float, asked: int
) -> None:
    plugins = bed.answering(answer(cacheDuration=duration), cache_seconds=default)
    await plugins.logins("r.io/a")
    await plugins.logins("r.io/a")
    assert len(bed.questions()) == asked


async def test_only_so_many_answers_are_kept(bed: Bed) -> None:
    plugins = bed.answering(answer(cacheDuration="1h"))
    (source,) = plugins._sources
    await plugins.logins("r.io/first")
    (kept,) = source._kept.values()
    source._kept |= {
        (f"r.io/{number}", None): kept for number in range(CREDENTIAL_ANSWERS.value - 1)
    }
    await plugins.logins("r.io/last")
    assert len(source._kept) == CREDENTIAL_ANSWERS.value
    assert ("r.io/first", None) not in source._kept
    assert ("r.io/last", None) in source._kept


async def test_equal_questions_at_once_are_one_also_if_one_asker_leaves(bed: Bed) -> None:
    plugins = bed.answering(answer())
    first, *others = [asyncio.create_task(plugins.logins("r.io/a")) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [[NAMED], [NAMED]]
    assert len(bed.questions()) == 1


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("", "error decoding credential provider plugin response"),
        (f'{{"apiVersion": "{V1}", "auth": "{SECRET}"}}', "error decoding credential provider"),
        (answer(kind="Other"), "error decoding credential provider"),
        (answer(more=SECRET), "error decoding credential provider"),
        (answer(cacheDuration=SECRET), "error decoding credential provider"),
        ("[" * 100_000, "error decoding credential provider"),
        (answer(apiVersion="v9"), f"expected apiVersion:{V1}, actual apiVersion:v9"),
        (answer(cacheKeyType="Pod"), "did not return a valid cacheKeyType: Pod"),
    ],
)
async def test_an_answer_that_cannot_be_read_gives_no_login_and_tells_none(
    bed: Bed, response: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await bed.answering(response).logins("r.io/a") == []
    (record,) = caplog.records
    assert reason in record.__dict__["reason"]
    assert SECRET not in record.__dict__["reason"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no network >&2; exit 3", "plugin for image r.io/a: exit status 3: no network"),
        ("kill -9 $$", "plugin for image r.io/a: signal 9: "),
        (f"head -c {PROGRAM_OUTPUT.value + 1} /dev/zero", "wrote more than"),
        ("sleep 60", "did not end within"),
    ],
)
async def test_a_program_that_fails_gives_no_login(
    bed: Bed,
    script: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(credential_plugins, "PROGRAM_SECONDS", 0.2)
    assert await bed.plugins(script).logins("r.io/a") == []
    (record,) = caplog.records
    assert reason in record.__dict__["reason"]


class Accounts:
    """The service accounts of pods, each with a token of its own; a pod "none" lacks a required annotation."""

    def __init__(self) -> None:
        self.failure = ""

    async def of(self, pod: Pod, wanted: TokenAttributes) -> PullAccount | None:
        if self.failure:
            raise AccountUnavailable(self.failure)
        if pod.metadata.name == "none":
            return None
        account = pod.spec.serviceAccountName
        source = AccountSource(f"uid-{account}", pod.metadata.namespace, account)
        return PullAccount(source, f"token-{pod.metadata.name}", (("role", wanted.audience),))


def pod(name: str, account: str = "app") -> Pod:
    meta = ObjectMeta(name=name, namespace="team", uid=name)
    return Pod(metadata=meta, spec=PodSpec(serviceAccountName=account))


def telling(bed: Bed, response: Any, *, by_token: bool = False, required: bool = True) -> Any:
    token = TokenAttributes("registry", required, by_token)
    plugins = bed.answering(response, token=token, cache_seconds=3600.0)
    plugins._accounts = Accounts()  # type: ignore[assignment]  # stands in for those of the API
    return plugins


def sourced(account: str = "app") -> Login:
    return Login("r.io", "user", SECRET, source=AccountSource(f"uid-{account}", "team", account))


async def test_a_program_is_told_token_and_annotations_and_its_login_is_the_accounts(
    bed: Bed,
) -> None:
    plugins = telling(bed, answer())
    assert await plugins.logins("r.io/a", pod("one")) == [sourced()]
    [question] = bed.questions()
    assert question["serviceAccountToken"] == "token-one"
    annotations: Any = question["serviceAccountAnnotations"]
    assert annotations == {"role": "registry"}


@pytest.mark.parametrize(("by_token", "asked"), [(False, 2), (True, 3)])
async def test_answers_are_kept_for_the_account_or_for_the_token(
    bed: Bed, by_token: bool, asked: int
) -> None:
    plugins = telling(bed, answer(cacheKeyType="Registry"), by_token=by_token)
    assert await plugins.logins("r.io/a", pod("one")) == [sourced()]
    assert await plugins.logins("r.io/b", pod("one")) == [sourced()]
    assert await plugins.logins("r.io/a", pod("two")) == [sourced()]
    assert await plugins.logins("r.io/a", pod("three", "other")) == [sourced("other")]
    assert len(bed.questions()) == asked


async def test_pods_without_an_account_are_asked_for_only_if_none_is_required(bed: Bed) -> None:
    assert await telling(bed, answer()).logins("r.io/a", pod("static", "")) == []
    assert bed.questions() == []
    optional = telling(bed, answer(), required=False)
    assert await optional.logins("r.io/a", pod("static", "")) == [NAMED]
    assert "serviceAccountToken" not in bed.questions()[0]


async def test_an_account_that_did_not_ask_for_it_gets_no_logins(bed: Bed) -> None:
    assert await telling(bed, answer()).logins("r.io/a", pod("none")) == []
    assert bed.questions() == []


async def test_a_token_may_be_the_password_only_where_it_is_kept_for_itself(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    echo = answer(auth={"r.io": {"username": "user", "password": "token-one"}})
    assert await telling(bed, echo).logins("r.io/a", pod("one")) == []
    assert "token-one" not in caplog.text
    assert "service account cache type is not set to 'Token'" in str(caplog.records[0].__dict__)
    [login] = await telling(bed, echo, by_token=True).logins("r.io/a", pod("one"))
    assert login.password == "token-one"


async def test_without_its_account_a_pod_has_no_logins_and_the_log_says_why(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = telling(bed, answer())
    plugins._accounts.failure = "failed to get service account token: no"
    assert await plugins.logins("r.io/a", pod("one")) == []
    assert await plugins.logins("elsewhere.io/a", pod("one")) == []
    [record] = caplog.records
    assert record.__dict__["reason"] == "failed to get service account token: no"
    assert record.__dict__["pod"] == "team/one"
