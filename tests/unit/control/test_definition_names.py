"""The names of custom resources."""

import pytest

from kubelite.api.kinds.apiextensions import CustomResourceDefinitionNames as Names
from kubelite.control.definition_names import NONE, Decision, NamesInUse, decide_names
from kubelite.limits import SHOWN_VALUE

GAMMA = Names(
    plural="gammas", singular="gamma", kind="Gamma", listKind="GammaList", shortNames=["g"]
)
OTHER = Names(
    plural="others", singular="other", kind="Other", listKind="OtherList", shortNames=["o"]
)


def test_free_names_are_accepted() -> None:
    assert decide_names(GAMMA, NONE, NamesInUse([OTHER])) == Decision(GAMMA)


@pytest.mark.parametrize(
    ("taken", "reason", "message", "accepted"),
    [
        (Names(plural="gammas"), "PluralConflict", '"gammas" is already in use', {"plural": ""}),
        (
            Names(singular="gamma"),
            "SingularConflict",
            '"gamma" is already in use',
            {"singular": ""},
        ),
        (Names(plural="g"), "ShortNamesConflict", '"g" is already in use', {"shortNames": []}),
        (
            Names(shortNames=["gamma"]),
            "SingularConflict",
            '"gamma" is already in use',
            {"singular": ""},
        ),
        (Names(kind="Gamma"), "KindConflict", '"Gamma" is already in use', {"kind": ""}),
        (
            Names(kind="GammaList"),
            "ListKindConflict",
            '"GammaList" is already in use',
            {"listKind": ""},
        ),
        (
            Names(kind="Gamma", listKind="GammaList"),
            "ListKindConflict",
            '"GammaList" is already in use',
            {"kind": "", "listKind": ""},
        ),
    ],
)
def test_each_conflict_is_told(
    taken: Names, reason: str, message: str, accepted: dict[str, str | list[str]]
) -> None:
    decision = decide_names(GAMMA, NONE, NamesInUse([taken]))
    assert (decision.reason, decision.message) == (reason, message)
    expected = {name: accepted.get(name, getattr(GAMMA, name)) for name in GAMMA.__struct_fields__}
    assert decision.accepted == Names(**expected)


def test_conflicting_short_names_are_told_together_and_none_is_accepted() -> None:
    wanted = Names(shortNames=["a", "b", "c", "a"])
    decision = decide_names(wanted, NONE, NamesInUse([Names(shortNames=["a", "c"])]))
    assert decision.message == '["a" is already in use, "c" is already in use]'
    assert decision.accepted.shortNames == []


def test_many_names_are_compared_by_hash_and_told_within_a_bound() -> None:
    many = Names(shortNames=[f"short{index}" for index in range(20_000)])
    assert decide_names(many, many, NamesInUse([many])).reason == ""
    decision = decide_names(many, NONE, NamesInUse([many]))
    assert decision.reason == "ShortNamesConflict"
    assert len(decision.message) == SHOWN_VALUE.value + len("...")


def test_accepted_names_are_kept_though_they_are_in_use() -> None:
    renamed = Names(plural="gammas", singular="other", kind="Gamma", listKind="GammaList")
    decision = decide_names(renamed, GAMMA, NamesInUse([GAMMA, OTHER]))
    assert decision.reason == "SingularConflict"
    assert decision.accepted == Names(
        plural="gammas", singular="gamma", kind="Gamma", listKind="GammaList"
    )


def test_categories_are_free() -> None:
    wanted = Names(categories=["all"])
    assert decide_names(wanted, NONE, NamesInUse([wanted])).accepted.categories == ["all"]


def test_names_that_change_are_free_again() -> None:
    in_use = NamesInUse([GAMMA, OTHER])
    in_use.change(GAMMA, NONE)
    assert not in_use.has_resource("gammas")
    assert not in_use.has_kind("Gamma")
    assert in_use.has_resource("o")
    assert not in_use.has_resource("")
    assert decide_names(GAMMA, NONE, in_use).reason == ""
