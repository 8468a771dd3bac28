"""What a container may do: users, groups, profiles, labels."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.runtime import Image, Profile
from kubelite.node.security import Privileges, privileges_of, user_of_image

ARABIC_0, WIDE_1 = "\N{ARABIC-INDIC DIGIT ZERO}", "\N{FULLWIDTH DIGIT ONE}"
WHERE = '(pod: "p_ns(u)", container: app)'


def privileges(
    image_user: str = "",
    own: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
) -> Privileges:
    container = {"name": "app", "image": "a", "securityContext": own or {}}
    meta = {"name": "p", "namespace": "ns", "uid": "u", "annotations": annotations or {}}
    spec = {"containers": [container], "securityContext": shared or {}}
    pod = msgspec.convert({"metadata": meta, "spec": spec}, Pod)
    return privileges_of(pod, pod.spec.containers[0], Image("sha256:0", user=image_user))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, "")),
        (":5", (None, "")),
        ("0", (0, "")),
        ("00", (0, "")),
        ("000:5", (0, "")),
        ("+0", (0, "")),
        ("-0", (0, "")),
        ("0" * 5000, (0, "")),
        ("0" * 5000 + "7", (7, "")),
        ("1000", (1000, "")),
        ("+1000:0", (1000, "")),
        ("-1", (-1, "")),
        ("9223372036854775807", (2**63 - 1, "")),
        ("9223372036854775808", (None, "9223372036854775808")),
        ("1" * 5000, (None, "1" * 5000)),
        ("4294967296", (2**32, "")),
        ("root", (None, "root")),
        (" 0", (None, " 0")),
        ("0 ", (None, "0 ")),
        ("0\n", (None, "0\n")),
        ("0x0", (None, "0x0")),
        ("1_000", (None, "1_000")),
        (ARABIC_0, (None, ARABIC_0)),
        (WIDE_1 + "000", (None, WIDE_1 + "000")),
        ("\N{SUPERSCRIPT TWO}", (None, "\N{SUPERSCRIPT TWO}")),
    ],
)
def test_an_images_user_is_read_as_engines_read_it(
    text: str, expected: tuple[int | None, str]
) -> None:
    assert user_of_image(text) == expected


ROOT = "container has runAsNonRoot and image will run as root"
RANGE = "(Must be 1-(2147483647)): must be between 0 and 2147483647, inclusive"


def non_numeric(name: str) -> str:
    why = "cannot verify user is non-root"
    return f"container has runAsNonRoot and image has non-numeric user ({name}), {why}"


def out_of_range(number: int) -> str:
    return f"container has runAsNonRoot and image has an invalid user id ({number}). {RANGE}"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        *((text, ROOT) for text in ("", ":1000", "0", "00", "000:5", "+0", "-0:1")),
        *(
            (text, non_numeric(text))
            for text in ("root", "web", ARABIC_0, " 0", "0 ", "0x0", "9223372036854775808")
        ),
        ("-1", out_of_range(-1)),
        ("4294967296", out_of_range(2**32)),
    ],
)
@pytest.mark.parametrize("place", ["own", "shared"])
def test_who_may_be_root_is_refused(user: str, message: str, place: str) -> None:
    with pytest.raises(ConfigUnavailable) as refused:
        privileges(user, **{place: {"runAsNonRoot": True}})  # type: ignore[arg-type]  # a dict of one of two
    assert str(refused.value) == f"{message} {WHERE}"


def test_a_long_name_of_an_image_is_cut() -> None:
    with pytest.raises(ConfigUnavailable) as refused:
        privileges("x" * 100_000, own={"runAsNonRoot": True})
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("image", "own", "shared", "user"),
    [
        ("", {}, {}, ""),
        ("web", {}, {}, "web"),
        ("web:web", {}, {}, "web:web"),
        ("+1000", {"runAsNonRoot": True}, {}, "1000"),
        ("01000:0100", {"runAsNonRoot": True}, {}, "1000:0100"),
        ("1000:100", {"runAsGroup": 7}, {}, "1000:7"),
        ("", {"runAsGroup": 7}, {}, "0:7"),
        (":5", {"runAsGroup": 7}, {}, "0:7"),
        (":5", {}, {}, ""),
        ("0", {"runAsUser": 5, "runAsNonRoot": True}, {}, "5"),
        ("0", {"runAsUser": 5}, {"runAsUser": 6, "runAsGroup": 0}, "5:0"),
        ("0", {"runAsNonRoot": False}, {"runAsNonRoot": True}, "0"),
        ("1000:100", {"runAsUser": 5}, {}, "5"),
    ],
)
def test_the_user_that_was_checked_is_the_one_that_runs(
    image: str, own: dict[str, Any], shared: dict[str, Any], user: str
) -> None:
    assert privileges(image, own, shared).user == user


def test_user_0_breaks_the_policy() -> None:
    with pytest.raises(ConfigUnavailable, match="runAsUser breaks non-root policy"):
        privileges("1000", {"runAsUser": 0, "runAsNonRoot": True})


def test_groups_come_from_the_pod() -> None:
    assert privileges(shared={"supplementalGroups": [1, 2], "fsGroup": 3}).groups == (1, 2, 3)


LOCAL = {"type": "Localhost", "localhostProfile": "unconfined"}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (LOCAL, Profile("Localhost", "unconfined")),
        ({"type": "Localhost"}, Profile("Localhost", "")),
        ({"type": "RuntimeDefault"}, Profile()),
        ({"type": "Unconfined"}, Profile("Unconfined")),
        ({"type": "Future"}, Profile()),
    ],
)
def test_only_the_type_unconfined_is_unconfined(profile: dict[str, Any], expected: Profile) -> None:
    context = {"seccompProfile": profile, "appArmorProfile": profile}
    for found in (privileges(own=context), privileges(shared=context)):
        assert (found.seccomp, found.apparmor) == (expected, expected)
    other = {"seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": LOCAL}
    assert privileges(own=context, shared=other).seccomp == expected


def test_without_profiles_a_container_has_what_a_kubelet_gives_it() -> None:
    assert (privileges().seccomp, privileges().apparmor) == (Profile("Unconfined"), Profile())


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("localhost/web", Profile("Localhost", "web")),
        ("localhost/", Profile("Localhost", "")),
        ("unconfined", Profile("Unconfined")),
        ("runtime/default", Profile()),
        ("web", Profile("Localhost", "unconfined")),
    ],
)
def test_the_annotation_for_app_armor_counts_for_more_than_the_pods_field(
    annotation: str, expected: Profile
) -> None:
    key = "container.apparmor.security.beta.kubernetes.io/app"
    shared = {"appArmorProfile": LOCAL}
    assert privileges("", {}, shared, {key: annotation}).apparmor == expected
    own = {"appArmorProfile": {"type": "RuntimeDefault"}}
    assert privileges("", own, shared, {key: annotation}).apparmor == Profile()


def test_labels_for_selinux() -> None:
    options = {"seLinuxOptions": {"level": "s0:c1,c2", "type": "t"}}
    assert privileges(shared=options).selinux == ("type:t", "level:s0:c1,c2")
    assert privileges(own={"seLinuxOptions": {"user": "u"}}, shared=options).selinux == ("user:u",)
    assert privileges().selinux == ()


def test_the_rest_is_passed_on() -> None:
    own = {
        "privileged": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "procMount": "Unmasked",
    }
    found = privileges(own=own)
    assert found.privileged
    assert found.no_new_privileges
    assert found.read_only_root
    assert found.proc_unmasked
    assert (found.capabilities_add, found.capabilities_drop) == (("NET_ADMIN",), ("ALL",))
    assert not privileges(own={"allowPrivilegeEscalation": True}).no_new_privileges
