"""Which images are removed, and how that is told."""

from datetime import UTC, datetime, timedelta

import pytest

from kubelite.node.images.collection import (
    Candidate,
    CollectionPolicy,
    bytes_to_free,
    in_order,
    is_in_use,
    is_own,
    is_too_old,
    is_too_young,
    shortage,
    shown_size,
    used_by,
    used_percent,
)
from kubelite.node.images.records import API_VERSION, Access, PulledRecord
from kubelite.node.images.registries import Registries, parse_registries
from kubelite.node.runtime import ContainerRecord, Image
from kubelite.node.usage_files import Filesystem

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GIB = 1 << 30


def _disk(capacity: int, available: int) -> Filesystem:
    return Filesystem(capacity, available, capacity - available, 1000, 500)


def _candidate(name: str, seen: int, used: int | None = None) -> Candidate:
    last = None if used is None else NOON + used * MINUTE
    return Candidate(Image(name), NOON + seen * MINUTE, last)


@pytest.mark.parametrize(
    ("available", "percent", "needed"),
    [(1000, 0, 0), (151, 85, 49), (160, 84, 0), (150, 85, 50), (0, 100, 200), (2000, 0, 0)],
)
def test_from_the_high_threshold_on_room_is_made_down_to_the_low_one(
    available: int, percent: int, needed: int
) -> None:
    disk = _disk(1000, available)
    assert used_percent(disk) == percent
    assert bytes_to_free(disk, CollectionPolicy()) == needed


def test_never_used_images_go_first_then_the_longest_unused_then_the_oldest() -> None:
    order = in_order(
        [
            _candidate("used late", 0, 9),
            _candidate("used early", 3, 5),
            _candidate("used early, older", 1, 5),
            _candidate("new", 8),
            _candidate("old", 2),
        ]
    )
    assert [one.image.id for one in order] == [
        "old",
        "new",
        "used early, older",
        "used early",
        "used late",
    ]


def test_age_is_since_the_last_use_or_the_first_sight() -> None:
    policy = CollectionPolicy(max_age=10 * MINUTE)
    assert is_too_old(_candidate("a", 0, 0), policy, NOON + 11 * MINUTE)
    assert not is_too_old(_candidate("a", 0, 0), policy, NOON + 10 * MINUTE)
    assert not is_too_old(_candidate("a", 0, 5), policy, NOON + 11 * MINUTE)
    assert not is_too_old(_candidate("a", 5), policy, NOON + 11 * MINUTE)
    assert not is_too_old(_candidate("a", 0), CollectionPolicy(), NOON + 1000 * MINUTE)
    assert is_too_young(_candidate("a", 0), CollectionPolicy(), NOON + MINUTE)
    assert not is_too_young(_candidate("a", 0), CollectionPolicy(), NOON + 2 * MINUTE)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CollectionPolicy(), False),
        (CollectionPolicy(100, 80), True),
        (CollectionPolicy(100, 80, max_age=MINUTE), False),
    ],
)
def test_a_threshold_of_all_turns_it_off(policy: CollectionPolicy, expected: bool) -> None:
    assert policy.is_off is expected


def test_an_image_is_used_by_its_id_or_under_any_name_of_its_digest() -> None:
    records = [
        ContainerRecord("1", "u", "p", "n", "app", 0, "exited", NOON, image_id="r.io/a@sha256:aa"),
        ContainerRecord("2", "u", "p", "n", "app", 1, "running", NOON, image_id="sha256:bb"),
    ]
    used = used_by(records)
    assert is_in_use(Image("sha256:bb"), used, used)
    assert is_in_use(Image("sha256:cc", ("m.io/a@sha256:aa",)), used, used)  # by a mirror's name
    assert not is_in_use(Image("sha256:dd", ("r.io/a@sha256:ab", "r.io/a:1")), used, used)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), True),
        (("r.io/a:1", "r.io/a@sha256:" + "0" * 64), True),
        (("r.io/a:1", "m.io/b:1"), True),  # the mirror's name
        (("r.io/a:1", "mine:1"), False),
        (("<strange>",), False),
    ],
)
def test_only_what_this_node_alone_has_named_is_its_own(
    names: tuple[str, ...], expected: bool
) -> None:
    mirrors = {"r.io": {"endpoint": ["m.io"], "rewrite": {"a": "b"}}}
    registries = parse_registries({"mirrors": mirrors})
    mapping = {"r.io/a": Access(node_pods_accessible=True)}
    record = PulledRecord("ImagePulledRecord", API_VERSION, "", "sha256:1", mapping)
    assert is_own(Image("sha256:1", names), record, registries) is expected
    assert not is_own(Image("sha256:1", names), None, registries)
    assert not is_own(Image("sha256:1", names, pinned=True), record, Registries())


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (GIB, "1.0 GiB"), (5000 << 40, "5000.0 TiB")],
)
def test_sizes_have_one_decimal(size: int, shown: str) -> None:
    assert shown_size(size) == shown


def test_a_shortage_is_told_in_upstreams_words() -> None:
    assert shortage(_disk(10 * GIB, GIB), 7) == (
        "Insufficient free disk space on the node's image filesystem (90% of 10.0 GiB used). "
        "Failed to free sufficient space by deleting unused images (freed 7 bytes). Investigate disk usage, as it "
        "could be used by active images, logs, volumes, or other data."
    )
