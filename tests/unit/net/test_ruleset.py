"""The table in full and as a difference."""

from kubelite.net.ruleset import ProxySettings, Ruleset, difference, merge, replace_all

BEFORE = Ruleset(
    chains={"a": ("one",), "b": ("two",)},
    elements={("services", "k"): "goto a", ("services", "l"): "goto b", ("hairpin", "x . x"): ""},
    sets={"clients/a": "type ipv4_addr;"},
)


def test_equal_rulesets_differ_by_nothing() -> None:
    assert difference(BEFORE, BEFORE) == ""


def test_a_difference_frees_what_it_deletes_first() -> None:
    after = Ruleset(
        chains={"a": ("other",), "c": ("three",)},
        elements={("services", "k"): "goto c", ("hairpin", "x . x"): ""},
        sets={"clients/c": "type ipv4_addr;"},
    )
    assert difference(BEFORE, after).splitlines() == [
        "flush chain ip kubelite a",
        "flush chain ip kubelite b",
        "table ip kubelite {",
        "  set clients/c { type ipv4_addr; }",
        "  chain c { }",
        "  chain a {",
        "    other",
        "  }",
        "  chain c {",
        "    three",
        "  }",
        "}",
        "delete element ip kubelite services { k, l }",
        "add element ip kubelite services { k : goto c }",
        "delete chain ip kubelite b",
        "delete set ip kubelite clients/a",
    ]


def test_the_first_to_claim_an_element_has_it() -> None:
    one = Ruleset(elements={("services", "k"): "goto a"})
    two = Ruleset(elements={("services", "k"): "goto b", ("services", "l"): "goto b"})
    assert merge([one, two]).elements == {("services", "k"): "goto a", ("services", "l"): "goto b"}


def test_the_whole_table_replaces_whatever_there_is() -> None:
    text = replace_all(BEFORE, ProxySettings(node_name="n", bridge="bridge7"))
    assert text.startswith("add table ip kubelite\ndelete table ip kubelite\ntable ip kubelite {\n")
    assert 'iifname "bridge7" ip daddr 127.0.0.0/8 drop' in text
    assert text.endswith("add element ip kubelite hairpin { x . x }\n")
