"""Images of pods: present, verified, pulled from mirrors and registries."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from fakes.fake_client import FakeClient, FixedClock

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.references import LocalObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import PULL_LOGINS
from kubelite.node.images.credential_config import CredentialProvider
from kubelite.node.images.pull_secrets import PullSecrets
from kubelite.node.images.records import PullRecords
from kubelite.node.images.registries import Registries, parse_registries
from kubelite.node.images.settings import ImageSettings
from kubelite.node.images.source import ImageSource, plugins_of
from kubelite.node.images.verification import NEVER, Verification
from kubelite.node.observed import ImageState
from kubelite.node.pod_config import PodConfig
from kubelite.node.pods import image_of
from kubelite.node.runtime import Credentials, Image, ImagePullFailed, RegistryUnavailable
from kubelite.node.simulated_runtime import Behaviour, SimulatedRuntime
from kubelite.randomness import SeededRandomness
from kubelite.tasks import TaskSet


class Engine(SimulatedRuntime):
    """An engine whose registries want logins, can be away, and can hang."""

    def __init__(self, clock: FixedClock) -> None:
        super().__init__(clock, SeededRandomness(1), Behaviour(pull_seconds=(0, 0)))
        self.logins: dict[str, str] = {}  # user by the name of an image
        self.away: set[str] = set()
        self.pulls: list[tuple[str, str]] = []  # name of an image, user
        self.gate = asyncio.Event()
        self.gate.set()
        self.most_at_once = self.at_once = 0

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        self.pulls.append((reference, credentials.username if credentials else ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if reference in self.away:
            raise RegistryUnavailable(f"no such host: {reference}")
        if self.logins.get(reference, "") not in {"", credentials.username if credentials else ""}:
            raise ImagePullFailed("unauthorized: authentication required")
        return await super().pull(reference, credentials)


class Bed:
    """A source over that engine and a fake API."""

    def __init__(self, settings: ImageSettings) -> None:
        self.client, self.clock = FakeClient(), FixedClock()
        self.engine = Engine(self.clock)
        self.events = EventRecorder(
            self.client, self.clock, SeededRandomness(2), component="kubelet"
        )
        self.tasks = TaskSet()
        self.records = PullRecords(self.clock)
        reads = PodConfig(self.client)
        self.secrets = PullSecrets(reads, self.events)
        self.source = ImageSource(
            self.engine,
            self.clock,
            self.events,
            self.tasks,
            self.secrets,
            self.records,
            settings,
            plugins_of(settings, self.tasks, reads, self.client, self.clock),
        )

    async def secret(self, name: str, logins: dict[str, str], namespace: str = "default") -> None:
        auths = {place: {"username": user, "password": "p"} for place, user in logins.items()}
        text = base64.b64encode(msgspec.json.encode({"auths": auths})).decode()
        meta = ObjectMeta(name=name, namespace=namespace, uid=f"uid-{namespace}-{name}")
        kind = "kubernetes.io/dockerconfigjson"
        await self.client.create(Secret(metadata=meta, type=kind, data={".dockerconfigjson": text}))

    async def run(
        self, image: str, *secrets: str, policy: str = "IfNotPresent", namespace: str = "default"
    ) -> ImageState:
        """Ensure an image for a pod; return the first state that is not a pull in progress."""
        pod = Pod(
            metadata=ObjectMeta(name="pod", namespace=namespace, uid="1"),
            spec=PodSpec(
                imagePullSecrets=[LocalObjectReference(name=name) for name in secrets],
                containers=[Container(name="app", image=image, imagePullPolicy=policy)],
            ),
        )
        done: asyncio.Future[ImageState] = asyncio.get_running_loop().create_future()

        def report(state: ImageState) -> None:
            if not state.pulling and not done.done():
                done.set_result(state)

        await self.source.ensure(pod, image_of(pod.spec.containers[0]), 0, report)
        return await done

    async def told(self) -> list[str]:
        await self.events.close()
        return [f"{e.reason}: {e.message}" for e in await self.client.list(Event)]


@asynccontextmanager
async def bed(registries: Any = None, **settings: Any) -> AsyncIterator[Bed]:
    parsed = parse_registries(registries) if registries is not None else Registries()
    made = Bed(ImageSettings(registries=parsed, **settings))
    try:
        yield made
    finally:
        made.engine.gate.set()
        await made.tasks.stop()
        await made.events.close()


def _reason(state: ImageState) -> str:
    return state.trouble.reason if state.trouble is not None else ""


async def test_an_image_that_one_pods_login_pulled_is_pulled_again_for_another() -> None:
    async with bed() as node:
        node.engine.logins["r.io/a:1"] = "user"
        await node.secret("pull", {"r.io": "user"})
        await node.secret("wrong", {"r.io": "stranger"})
        assert (await node.run("r.io/a:1", "pull")).image_id
        assert (await node.run("r.io/a:1", "pull")).image_id
        assert node.engine.pulls == [("r.io/a:1", "user")]  # the second pod's login is known
        assert _reason(await node.run("r.io/a:1")) == "ErrImagePull"
        assert _reason(await node.run("r.io/a:1", "wrong")) == "ErrImagePull"
        assert node.engine.pulls[1:] == [("r.io/a:1", ""), ("r.io/a:1", "stranger")]


async def test_the_logins_of_programs_come_after_those_of_secrets_and_of_the_node(
    tmp_path: Path,
) -> None:
    version = "credentialprovider.kubelet.k8s.io/v1"
    answer = {
        "kind": "CredentialProviderResponse",
        "apiVersion": version,
        "cacheKeyType": "Registry",
        "auth": {"r.io": {"username": "program"}, "other.io": {"username": "stranger"}},
    }
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{msgspec.json.encode(answer).decode()}'\n")
    program.chmod(0o755)
    provider = CredentialProvider("program", program, version, ("r.io",), 60.0)
    registries = {"configs": {"r.io": {"auth": {"username": "node", "password": "p"}}}}
    async with bed(registries, credential_providers=(provider,)) as node:
        node.engine.logins["r.io/a:1"] = "program"
        await node.secret("pull", {"r.io": "user"})
        assert (await node.run("r.io/a:1", "pull")).image_id
        assert [user for _, user in node.engine.pulls] == ["user", "node", "program"]
        assert (await node.run("r.io/a:1", namespace="another")).image_id
        assert len(node.engine.pulls) == 3, "what the node has pulled by itself is for all its pods"


async def test_that_such_an_image_is_there_is_not_told_to_a_pod_that_never_pulls() -> None:
    async with bed() as node:
        await node.secret("pull", {"r.io": "user"})
        await node.run("r.io/a:1", "pull")
        absent = await node.run("r.io/b:1", policy="Never")
        present = await node.run("r.io/a:1", policy="Never")
        assert _reason(absent) == _reason(present) == "ErrImageNeverPull"
        assert absent.trouble is not None
        assert present.trouble is not None
        assert present.trouble.message == absent.trouble.message.replace("r.io/b", "r.io/a")
        assert (await node.run("r.io/a:1", "pull", policy="Never")).image_id


async def test_the_same_login_in_another_namespace_needs_no_pull_and_is_remembered() -> None:
    async with bed() as node:
        for namespace in ("default", "other"):
            await node.secret("pull", {"r.io": "user"}, namespace)
        image_id = (await node.run("r.io/a:1", "pull")).image_id
        assert (await node.run("r.io/a:1", "pull", namespace="other")).image_id == image_id
        assert len(node.engine.pulls) == 1
        record = node.records.record(image_id)
        assert record is not None
        known = record.credential_mapping["r.io/a"].kubernetes_secrets
        assert [secret.namespace for secret in known] == ["default", "other"]


async def test_a_preloaded_image_is_for_all_pods() -> None:
    async with bed() as node:
        await SimulatedRuntime.pull(node.engine, "r.io/a:1", None)
        assert (await node.run("r.io/a:1")).image_id
        assert node.engine.pulls == []


async def test_without_verification_every_pod_uses_what_is_there() -> None:
    async with bed(verification=Verification(NEVER)) as node:
        node.engine.logins["r.io/a:1"] = "user"
        await node.secret("pull", {"r.io": "user"})
        await node.run("r.io/a:1", "pull")
        assert (await node.run("r.io/a:1")).image_id


async def test_mirrors_are_tried_first_and_the_image_keeps_its_name() -> None:
    mirrors = {"r.io": {"endpoint": ["m1.io", "m2.io"], "rewrite": {"^a$": "b"}}}
    configs = {"m2.io": {"auth": {"username": "node", "password": "p"}}}
    async with bed({"mirrors": mirrors, "configs": configs}) as node:
        node.engine.away.add("m1.io/b:1")
        node.engine.logins["m2.io/b:1"] = "node"
        await node.secret("pull", {"r.io": "user"})
        state = await node.run("r.io/a:1", "pull")
        # The pod's login is for the registry, so a mirror does not get it.
        assert node.engine.pulls == [("m1.io/b:1", ""), ("m2.io/b:1", "node")]
        found = await node.engine.image("r.io/a:1")
        assert found is not None
        assert found.id == state.image_id
        assert (await node.run("r.io/a:1")).image_id  # the node's login pulled it
        assert len(node.engine.pulls) == 2


async def test_an_image_by_digest_is_found_by_its_mirrors_name() -> None:
    digest = "sha256:" + "0" * 64
    async with bed({"mirrors": {"*": {"endpoint": ["m.io"]}}}) as node:
        state = await node.run(f"r.io/a@{digest}")
        assert (await node.run(f"r.io/a@{digest}")).image_id == state.image_id
        assert node.engine.pulls == [(f"m.io/a@{digest}", "")]


async def test_the_registry_itself_comes_last_with_the_pods_login() -> None:
    async with bed({"mirrors": {"r.io": {"endpoint": ["m.io"]}}}) as node:
        node.engine.away.add("m.io/a:1")
        await node.secret("pull", {"r.io": "user"})
        assert (await node.run("r.io/a:1", "pull")).image_id
        assert node.engine.pulls == [("m.io/a:1", ""), ("r.io/a:1", "user")]


async def test_when_all_sources_fail_each_reason_is_told_once() -> None:
    async with bed({"mirrors": {"r.io": {"endpoint": ["m.io"]}}}) as node:
        node.engine.away.add("m.io/a:1")
        node.engine.logins["r.io/a:1"] = "user"
        await node.secret("one", {"r.io": "x"})
        await node.secret("two", {"r.io": "y"})
        state = await node.run("r.io/a:1", "one", "two")
        assert state.trouble is not None
        assert state.trouble.message == (
            "[no such host: m.io/a:1, unauthorized: authentication required]"
        )


async def test_a_missing_pull_secret_gets_an_event_and_the_pull_is_tried() -> None:
    async with bed() as node:
        assert (await node.run("r.io/a:1", "missing")).image_id
        assert (
            "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (missing); "
            "attempting to pull the image may not succeed."
        ) in await node.told()


async def test_no_more_logins_are_tried_than_the_bound() -> None:
    async with bed() as node:
        node.engine.logins["r.io/a/b/c:1"] = "nobody"
        for number in range(PULL_LOGINS.value + 5):
            await node.secret(f"s{number}", {"r.io": f"u{number}"})
        reached = PULL_LOGINS.times_reached
        await node.run("r.io/a/b/c:1", *(f"s{n}" for n in range(PULL_LOGINS.value + 5)))
        assert len(node.engine.pulls) == PULL_LOGINS.value
        assert PULL_LOGINS.times_reached == reached + 1


async def test_pulls_are_bounded_and_equal_ones_are_one() -> None:
    async with bed(pulls_at_once=2) as node:
        node.engine.gate.clear()
        images = [f"r.io/{number % 5}:1" for number in range(20)]
        states = [asyncio.create_task(node.run(image)) for image in images]
        await asyncio.sleep(0.01)
        assert node.engine.most_at_once == len(node.engine.pulls) == 2
        node.engine.gate.set()
        for task in states:
            assert (await task).image_id
        assert node.engine.most_at_once == 2
        assert len(node.engine.pulls) == 5


async def test_pods_with_other_logins_do_not_share_a_pull() -> None:
    async with bed() as node:
        node.engine.logins["r.io/a:1"] = "user"
        await node.secret("pull", {"r.io": "user"})
        node.engine.gate.clear()
        good = asyncio.create_task(node.run("r.io/a:1", "pull"))
        bad = asyncio.create_task(node.run("r.io/a:1"))
        await asyncio.sleep(0.01)
        node.engine.gate.set()
        assert (await good).image_id
        assert _reason(await bad) == "ErrImagePull"


async def test_a_login_of_the_node_is_used_for_a_registry_without_mirrors() -> None:
    async with bed({"configs": {"r.io": {"auth": {"username": "node"}}}}) as node:
        assert (await node.run("r.io/a:1")).image_id
        assert node.engine.pulls == [("r.io/a:1", "node")]
