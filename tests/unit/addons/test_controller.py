"""Objects from files: applied, followed, pruned, over a real control plane and a real folder."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fakes.server import StandingClock

from kubelite.addons import controller
from kubelite.addons.applyset import PART_OF, parent_name, set_id
from kubelite.addons.controller import Addons
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.events import EventRecorder
from kubelite.api.client.local import LocalClient
from kubelite.api.errors import InternalError, NotFound
from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.model import Kind
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.limits import ADDON_OBJECTS
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

ROOT = ("system:masters",)
KEY = new_key()
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
"""
WIDGET = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n---\n"


def config_map(name: str, value: str = "1", namespace: str = "") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{place}}}\n"
        f"data: {{value: '{value}'}}\n---\n"
    )


class Bed:
    """A control plane over a store that outlives it, and the folder of its manifests."""

    def __init__(self, path: Path) -> None:
        self.path = path / "server" / "manifests"
        self.clock = StandingClock()
        self.store = EmbeddedStore(MemoryEngine(), clock=self.clock)
        self.rounds = 0
        self._news = asyncio.Event()

    async def start(self) -> None:
        self.plane = ControlPlane(
            self.store,
            clock=self.clock,
            randomness=SeededRandomness(1),
            signing_keys=[KEY],
            certificates=ClientCertificates([], self.clock),
            config=Config(),
        )
        await self.plane.bootstrap("192.0.2.1", 6443)
        self.client: LocalClient = self.plane.client(Caller("root", ROOT), "test")
        self.own = self.plane.client(Caller("system:kubelite-addons", ROOT), "kubelite-addons")
        self.events = EventRecorder(self.own, self.clock, SeededRandomness(2), component="addons")
        self.addons = Addons(self.path, self.own, self.events, AtOnce())
        self._task = asyncio.create_task(self.addons.run(self._after_round))
        await self.until(lambda: self.rounds > 0)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.events.close()
        self.rounds = 0

    def _after_round(self) -> None:
        self.rounds += 1
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                waiting = asyncio.create_task(self._news.wait())
                await asyncio.wait([waiting, self._task], return_when="FIRST_COMPLETED")
                waiting.cancel()
                if self._task.done():
                    self._task.result()

    def write(self, file: str, *documents: str) -> None:
        """Put a file in place at once, as an editor does."""
        new = self.path / f".{file}.new"
        new.write_text("".join(documents))
        new.rename(self.path / file)

    def parent(self, file: str) -> dict[str, str] | None:
        found = self.plane.mirrors.get(ConfigMap, parent_name(file), "kube-system")
        return found.data if found is not None else None

    def state(self, file: str) -> str:
        parent = self.parent(file)
        return parent["state"] if parent is not None else ""

    def find(self, kind: type[Kind], name: str, namespace: str = "default") -> Any:
        return self.plane.mirrors.get(kind, name, namespace)

    def value(self, name: str, namespace: str = "default") -> str | None:
        found = self.find(ConfigMap, name, namespace)
        return found.data.get("value") if found is not None else None

    async def establish(self) -> None:
        """Let the definition be served, as its controllers do."""
        names = {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "listKind": "WidgetList",
        }
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": "R",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind in ("NamesAccepted", "Established")
        ]
        status = {"acceptedNames": names, "conditions": conditions, "storedVersions": ["v1"]}
        await self.client.patch(
            CustomResourceDefinition,
            "widgets.example.com",
            {"status": status},
            subresource="status",
        )

    async def widget(self) -> dict[str, Any] | None:
        try:
            return await self.client.resource("example.com", "v1", "widgets").get("w", "default")
        except NotFound:
            return None


def run(
    path: Path, work: Callable[[Bed], Coroutine[Any, Any, None]], *, begun: bool = True
) -> None:
    async def main() -> None:
        bed = Bed(path)
        if begun:
            await bed.start()
        try:
            await work(bed)
        finally:
            await bed.stop()

    asyncio.run(main())


def test_a_cluster_without_files_has_nothing_of_it(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        assert bed.path.stat().st_mode & 0o777 == 0o700
        revision = bed.store.revision
        (bed.path / "README").write_text("nothing")
        await bed.until(lambda: bed.rounds > 1)
        assert bed.store.revision == revision

    run(tmp_path, work)


def test_files_are_applied_followed_and_pruned(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"), config_map("b", namespace="kube-public"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        assert bed.parent("web.yaml") == {"file": "web.yaml", "state": "Applied", "objects": "2"}
        assert (bed.value("a"), bed.value("b", "kube-public")) == ("1", "1")
        found = bed.find(ConfigMap, "a")
        assert found.metadata.labels == {PART_OF: set_id("addon-web.yaml")}
        whole = await bed.client.resource("", "v1", "configmaps").get("a", "default")
        assert {one["manager"] for one in whole["metadata"]["managedFields"]} == {"kubelite-addons"}
        bed.write("web.yaml", config_map("a", "2"), config_map("c"))
        await bed.until(lambda: bed.value("a") == "2" and bed.value("b", "kube-public") is None)
        assert bed.value("c") == "1"
        parent = bed.find(ConfigMap, "addon-web.yaml", "kube-system")
        annotations = parent.metadata.annotations
        assert annotations["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"
        assert annotations["applyset.kubernetes.io/additional-namespaces"] == "default"
        (bed.path / "web.yaml").unlink()
        await bed.until(lambda: bed.parent("web.yaml") is None)
        assert bed.value("a") is bed.value("c") is None

    run(tmp_path, work)


def test_what_happened_while_the_server_was_down(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.path.mkdir(parents=True)
        bed.write("gone.yaml", config_map("a"))
        bed.write("less.yaml", config_map("b"), config_map("c"))
        bed.write("drifted.yaml", config_map("d"))
        await bed.start()
        await bed.until(lambda: bed.value("a") == bed.value("c") == bed.value("d") == "1")
        await bed.stop()
        (bed.path / "gone.yaml").unlink()
        bed.write("less.yaml", config_map("b"))
        await bed.client.delete(ConfigMap, "d", "default")
        await bed.start()
        assert bed.parent("gone.yaml") is None
        assert [bed.value(name) for name in "abcd"] == [None, "1", None, "1"]
        revision = bed.store.revision
        await bed.stop()
        await bed.start()
        assert bed.store.revision == revision, "what is right already is written again"

    run(tmp_path, work, begun=False)


def test_a_custom_resource_may_come_before_its_definition(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("a.yaml", WIDGET)
        await bed.until(lambda: bed.state("a.yaml") == "Waiting")
        parent = bed.parent("a.yaml")
        assert parent is not None
        assert parent["problem"] == (
            'document 1, Widget w: no matches for kind "Widget" in version "example.com/v1"'
        )
        bed.write("b.yaml", DEFINITION)
        await bed.until(lambda: bed.state("b.yaml") == "Applied")
        await bed.establish()
        await bed.until(lambda: bed.state("a.yaml") == "Applied")
        assert await bed.widget() is not None
        # Both vanish at once: the objects go before their definition.
        await bed.stop()
        (bed.path / "a.yaml").unlink()
        (bed.path / "b.yaml").unlink()
        await bed.start()
        assert bed.parent("a.yaml") is bed.parent("b.yaml") is None

    run(tmp_path, work)


def test_definition_and_resource_in_one_file(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("a.yaml", WIDGET, DEFINITION)
        await bed.until(lambda: bed.state("a.yaml") == "Waiting")
        await bed.establish()
        await bed.until(lambda: bed.state("a.yaml") == "Applied")
        assert await bed.widget() is not None

    run(tmp_path, work)


def test_a_bad_file_loses_nothing(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"), config_map("b"))
        bed.write("other.yaml", config_map("c"), config_map("d"))
        await bed.until(lambda: bed.state("web.yaml") == bed.state("other.yaml") == "Applied")
        bed.write("web.yaml", config_map("a", "2"), "kind: [")
        bed.write("other.yaml", config_map("c"))  # the bad file may have the object now
        await bed.until(lambda: bed.state("web.yaml") == "Failed")
        parent = bed.parent("web.yaml")
        assert parent is not None
        assert parent["problem"].startswith("document 2: yaml: ")
        assert parent["objects"] == "2"
        assert [bed.value(name) for name in "abcd"] == ["1", "1", "1", "1"]
        for text in ("", "# empty, as a full disk leaves it\n"):
            bed.write("web.yaml", text)
            await bed.until(lambda: "no objects" in (bed.parent("web.yaml") or {})["problem"])
        assert bed.value("b") == "1"
        bed.write("web.yaml", config_map("a", "3"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        assert [bed.value(name) for name in "abcd"] == ["3", None, "1", None]

    run(tmp_path, work)


def test_what_the_api_refuses_names_document_object_and_field(tmp_path: Path) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selektor: 1}\n---\n"
    )

    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"), deployment, config_map("B"))
        await bed.until(lambda: bed.state("web.yaml") == "Failed")
        parent = bed.parent("web.yaml")
        assert parent is not None
        first, second = parent["problem"].splitlines()
        assert first.startswith("document 3, ConfigMap B: ")
        assert "metadata.name" in first
        assert second.startswith("document 2, Deployment web: ")
        assert "selektor" in second
        assert parent["objects"] == "1"
        assert bed.value("a") == "1"
        async with asyncio.timeout(10):
            while not (events := await bed.client.list(Event, "kube-system")):
                await asyncio.sleep(0)
        (event,) = events
        assert (event.type, event.reason) == ("Warning", "ApplyFailed")
        assert event.involvedObject.name == "addon-web.yaml"
        assert event.message.startswith("web.yaml: document 3, ConfigMap B")

    run(tmp_path, work)


def test_a_skipped_file_is_neither_applied_nor_pruned(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"))
        bed.write("new.yaml.skip", "")
        bed.write("new.yaml", config_map("b"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        bed.write("web.yaml.skip", "")
        await bed.until(lambda: bed.state("web.yaml") == "Skipped")
        bed.write("web.yaml", config_map("c"))
        bed.write("mark.yaml", config_map("m"))
        await bed.until(lambda: bed.state("mark.yaml") == "Applied")
        assert [bed.value(name) for name in "abc"] == ["1", None, None]
        (bed.path / "web.yaml").unlink()
        (bed.path / "mark.yaml").unlink()
        await bed.until(lambda: bed.parent("mark.yaml") is None)
        assert bed.value("a") == "1"
        (bed.path / "web.yaml.skip").unlink()
        await bed.until(lambda: bed.parent("web.yaml") is None)
        assert bed.value("a") is None

    run(tmp_path, work)


def test_an_object_moves_from_file_to_file(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("a.yaml", config_map("x"))
        bed.write("b.yaml", config_map("v"), config_map("z"))
        await bed.until(lambda: bed.state("a.yaml") == bed.state("b.yaml") == "Applied")
        uid = bed.find(ConfigMap, "v").metadata.uid
        await bed.stop()
        bed.write("a.yaml", config_map("x"), config_map("v"))
        bed.write("b.yaml", config_map("z"))
        await bed.start()
        await bed.until(lambda: bed.state("a.yaml") == "Applied")
        assert bed.find(ConfigMap, "v").metadata.uid == uid
        assert bed.find(ConfigMap, "v").metadata.labels[PART_OF] == set_id("addon-a.yaml")
        # The incumbent keeps an object that two files have, and removing the other does not take it away.
        bed.write("c.yaml", config_map("x", "2"), config_map("x"))
        await bed.until(lambda: bed.state("c.yaml") == "Failed")
        parent = bed.parent("c.yaml")
        assert parent is not None
        assert parent["problem"].splitlines()[0] == (
            "document 1, ConfigMap x: the file a.yaml has this object"
        )
        (bed.path / "c.yaml").unlink()
        await bed.until(lambda: bed.parent("c.yaml") is None)
        assert bed.value("x") == "1"

    run(tmp_path, work)


def test_moving_while_the_server_runs_keeps_the_object(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("a.yaml", config_map("x"))
        bed.write("b.yaml", config_map("v"), config_map("z"))
        await bed.until(lambda: bed.state("a.yaml") == bed.state("b.yaml") == "Applied")
        uid = bed.find(ConfigMap, "v").metadata.uid
        # No await in between: one round sees both.
        bed.write("a.yaml", config_map("x"), config_map("v"))
        bed.write("b.yaml", config_map("z"))
        label = set_id("addon-a.yaml")
        await bed.until(lambda: bed.find(ConfigMap, "v").metadata.labels[PART_OF] == label)
        assert bed.find(ConfigMap, "v").metadata.uid == uid

    run(tmp_path, work)


def test_objects_of_controllers_and_lasting_namespaces_are_not_pruned(tmp_path: Path) -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n---\n"

    async def work(bed: Bed) -> None:
        bed.write("web.yaml", namespace, config_map("a"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        label = {PART_OF: set_id("addon-web.yaml")}
        owner = OwnerReference(apiVersion="v1", kind="Pod", name="p", uid="u", controller=True)
        copied = ObjectMeta(name="copy", namespace="default", labels=label, ownerReferences=[owner])
        await bed.client.create(ConfigMap(metadata=copied))
        (bed.path / "web.yaml").unlink()
        await bed.until(lambda: bed.parent("web.yaml") is None)
        assert bed.value("a") is None
        assert bed.find(ConfigMap, "copy") is not None
        kept = bed.find(Namespace, "kube-system", "")
        assert kept.metadata.deletionTimestamp is None
        assert PART_OF not in kept.metadata.labels

    run(tmp_path, work)


def test_a_folder_that_had_to_be_made_prunes_nothing(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        await bed.stop()
        bed.path.rename(tmp_path / "elsewhere")  # as after a restore on another machine
        for _ in range(2):
            await bed.start()
            assert bed.state("web.yaml") == "Kept"
            assert bed.value("a") == "1"
            await bed.stop()
        await bed.start()
        bed.write("web.yaml", config_map("b"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        assert (bed.value("a"), bed.value("b")) == (None, "1")

    run(tmp_path, work)


def test_a_folder_that_is_removed_is_followed_again(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        bed.path.rename(tmp_path / "elsewhere")
        await bed.until(lambda: bed.state("web.yaml") == "Kept")
        bed.write("more.yaml", config_map("b"))
        await bed.until(lambda: bed.state("more.yaml") == "Applied")
        assert bed.value("a") == "1"

    run(tmp_path, work)


def test_a_file_is_read_when_its_writer_has_closed_it(tmp_path: Path) -> None:
    async def work(bed: Bed) -> None:
        bed.path.mkdir(parents=True)
        bed.write("web.yaml", config_map("a"), config_map("b"))
        await bed.start()
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        await bed.stop()
        with (bed.path / "web.yaml").open("w") as file:
            file.write(config_map("a", "2"))
            file.flush()
            await bed.start()  # in the middle of it: not even what the watch could tell was seen
            assert (bed.value("a"), bed.value("b")) == ("1", "1")
            file.write(config_map("b", "2"))
        await bed.until(lambda: bed.value("b") == "2")
        assert bed.value("a") == "2"

    run(tmp_path, work, begun=False)


def test_writes_that_fail_are_tried_again_and_prune_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "RETRY_FIRST_SECONDS", 0.01)

    async def work(bed: Bed) -> None:
        bed.write("web.yaml", config_map("a"), config_map("b"))
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        send, is_full = bed.own.send, True

        async def failing(call: Any) -> bytes:
            if is_full and call.verb in ("patch", "delete"):
                raise InternalError("the disk is full")
            return await send(call)

        monkeypatch.setattr(bed.own, "send", failing)
        monkeypatch.setattr(controller, "RETRY_MAX_SECONDS", 0.02)
        bed.write("web.yaml", config_map("a", "2"))
        rounds = bed.rounds
        await bed.until(lambda: bed.rounds > rounds + 3)
        assert (bed.value("a"), bed.value("b")) == ("1", "1")
        is_full = False
        await bed.until(lambda: bed.value("a") == "2" and bed.value("b") is None)
        is_full = True
        (bed.path / "web.yaml").unlink()
        rounds = bed.rounds
        await bed.until(lambda: bed.rounds > rounds + 3)
        is_full = False
        await bed.until(lambda: bed.parent("web.yaml") is None)
        assert bed.value("a") is None

    run(tmp_path, work)


def test_a_strange_parent_deletes_nothing(tmp_path: Path) -> None:
    """Who may write ConfigMaps of kube-system cannot make a set out of what others have labelled."""

    async def work(bed: Bed) -> None:
        label = {PART_OF: "applyset-stolen-v1"}
        meta = ObjectMeta(name="x", namespace="default", labels=label)
        await bed.client.create(ConfigMap(metadata=meta))
        parent = ConfigMap(
            metadata=ObjectMeta(
                name="addon-x.yaml",
                namespace="kube-system",
                labels={
                    "kubelite.io/addon": "true",
                    "applyset.kubernetes.io/id": "applyset-stolen-v1",
                },
                annotations={
                    "applyset.kubernetes.io/contains-group-kinds": "ConfigMap",
                    "applyset.kubernetes.io/additional-namespaces": "default",
                },
            ),
            data={"file": "x.yaml", "state": "Applied"},
        )
        await bed.client.create(parent)
        await bed.stop()
        await bed.start()
        assert bed.find(ConfigMap, "x") is not None

    run(tmp_path, work)


def test_too_many_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ADDON_OBJECTS, "value", 2)

    async def work(bed: Bed) -> None:
        bed.write("web.yaml", *(config_map(name) for name in "abc"))
        await bed.until(lambda: bed.state("web.yaml") == "Failed")
        assert bed.value("a") is None

    run(tmp_path, work)


def test_a_field_of_another_manager_is_what_the_file_says(tmp_path: Path) -> None:
    deployment = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: a, image: b}]}
"""

    async def work(bed: Bed) -> None:
        bed.write("web.yaml", deployment)
        await bed.until(lambda: bed.state("web.yaml") == "Applied")
        await bed.client.patch(Deployment, "web", {"spec": {"replicas": 5}}, "default")
        await bed.stop()
        await bed.start()
        assert bed.find(Deployment, "web").spec.replicas == 2

    run(tmp_path, work)
