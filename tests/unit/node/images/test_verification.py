"""Who may use an image that is on the node already."""

import pytest

from kubelite.node.images.logins import AccountSource, Login, SecretSource
from kubelite.node.images.records import (
    API_VERSION,
    Access,
    AccountAccess,
    PulledRecord,
    SecretAccess,
)
from kubelite.node.images.verification import (
    ALLOWLISTED,
    ALWAYS,
    NEVER,
    NOTED_SECRETS_MAX,
    PRELOADED,
    Finding,
    Verification,
    access_known,
    access_of,
    find_access,
    pattern_problem,
    repository_of,
)

OWN = Login("r.io", "user", "password", source=SecretSource("1", "team", "pull"))
SAME_ELSEWHERE = Login("r.io", "user", "password", source=SecretSource("2", "other", "pull"))
CHANGED = Login("r.io", "user", "newer", source=SecretSource("1", "team", "pull"))
STRANGER = Login("r.io", "else", "password", source=SecretSource("3", "other", "pull"))


def _record(access: Access, repository: str = "r.io/a") -> PulledRecord:
    return PulledRecord("ImagePulledRecord", API_VERSION, "", "sha256:1", {repository: access})


@pytest.mark.parametrize(
    ("policy", "image", "was_pulled", "expected"),
    [
        (NEVER, "r.io/a", True, False),
        (PRELOADED, "r.io/a", False, False),
        (PRELOADED, "r.io/a", True, True),
        (ALWAYS, "r.io/a", False, True),
        (ALLOWLISTED, "r.io/a:1", True, False),
        (ALLOWLISTED, "r.io/ab", True, True),
        (ALLOWLISTED, "r.io/team/x@sha256:" + "0" * 64, False, False),
    ],
)
def test_the_policy_says_whether_logins_count(
    policy: str, image: str, was_pulled: bool, expected: bool
) -> None:
    verification = Verification(policy, ("r.io/a", "r.io/team/*"))
    assert verification.is_required(image, was_pulled=was_pulled) is expected


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access(node_pods_accessible=True), True),
        (Access(), False),
        (access_of(OWN), None),
    ],
)
def test_a_record_may_know_without_logins(access: Access, expected: bool | None) -> None:
    assert access_known(_record(access), "r.io/a") is expected
    assert access_known(_record(access), "r.io/b") is False  # under that name nobody pulled it
    assert access_known(None, "r.io/a") is False


def test_the_login_that_pulled_it_may_use_it_from_whichever_secret() -> None:
    record = _record(access_of(OWN))
    assert find_access(record, "r.io/a", [OWN]) == find_access(record, "r.io/a", [STRANGER, OWN])
    assert find_access(record, "r.io/a", [OWN]).new is None
    elsewhere = find_access(record, "r.io/a", [SAME_ELSEWHERE])
    assert elsewhere.is_allowed
    assert elsewhere.new == access_of(SAME_ELSEWHERE)
    assert not find_access(record, "r.io/a", [STRANGER]).is_allowed
    assert not find_access(record, "r.io/a", []).is_allowed


def test_a_secret_that_pulled_it_may_use_it_after_a_change() -> None:
    finding = find_access(_record(access_of(OWN)), "r.io/a", [CHANGED])
    assert finding.is_allowed
    assert finding.new == access_of(CHANGED)


def test_a_full_record_is_not_added_to() -> None:
    others = tuple(
        SecretAccess(str(number), "other", f"s{number}", "hash")
        for number in range(NOTED_SECRETS_MAX)
    )
    record = _record(Access((*access_of(OWN).kubernetes_secrets, *others[1:])))
    assert find_access(record, "r.io/a", [SAME_ELSEWHERE]).new is None
    assert find_access(record, "r.io/a", [SAME_ELSEWHERE]).is_allowed
    assert not find_access(record, "r.io/a", [CHANGED]).is_allowed


def test_a_login_of_the_node_or_none_lets_all_pods_use_it() -> None:
    assert access_of(None) == access_of(Login("r.io", "node")) == Access(node_pods_accessible=True)


def test_an_account_that_pulled_an_image_may_use_it_and_no_other_account() -> None:
    mine = Login("r.io", "u", "p1", source=AccountSource("1", "team", "app"))
    again = Login("r.io", "u", "p2", source=AccountSource("1", "team", "app"))
    made_anew = Login("r.io", "u", "p1", source=AccountSource("2", "team", "app"))
    access = access_of(mine)
    assert access == Access(kubernetes_service_accounts=(AccountAccess("team", "app", "1"),))
    record = _record(access)
    assert access_known(record, "r.io/a") is None
    assert find_access(record, "r.io/a", [STRANGER, again]) == Finding(True)
    assert not find_access(record, "r.io/a", [made_anew]).is_allowed
    assert not find_access(_record(access_of(OWN)), "r.io/a", [mine]).is_allowed


def test_a_hash_of_nothing_matches_nothing() -> None:
    access = Access((SecretAccess("1", "team", "gone", ""),))
    assert not find_access(_record(access), "r.io/a", [STRANGER]).is_allowed


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("r.io/a", ""),
        ("r.io/*", ""),
        ("busybox", ""),
        (" r.io/a", "leading/trailing spaces are not allowed"),
        ("r.io/*/a", "not a valid wildcard pattern, only patterns ending with '/*' are allowed"),
        ("/*", "at least registry hostname is required"),
        ("", "must be the name of an image"),
        ("r.io/a:1", "neither tag nor digest is accepted"),
    ],
)
def test_patterns_of_the_allowlist_are_checked(pattern: str, problem: str) -> None:
    assert pattern_problem(pattern) == problem


def test_a_repository_is_written_as_in_the_pod() -> None:
    assert repository_of("busybox:1") == "busybox"
    assert repository_of("r.io:5000/a@sha256:" + "0" * 64) == "r.io:5000/a"
