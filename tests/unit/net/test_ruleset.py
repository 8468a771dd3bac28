"""The table in full and as a difference."""

from kubelite.net.ruleset import (
    ProxySettings,
    Ruleset,
    difference,
    keep_clients,
    merge,
    replace_all,
)

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


def test_clients_are_kept_for_sets_that_stay() -> None:
    listing = (
        "table ip other {\n\tset clients/a {\n\t\telements = { 1.1.1.1 expires 1h }\n\t}\n}\n"
        "table ip kubelite {\n"
        "\tset clients/a {\n\t\ttype ipv4_addr\n\t\ttimeout 3h\n"
        "\t\telements = { 10.42.0.2 expires 2h59m59s996ms, 10.42.0.3 timeout 1h expires 5s,\n"
        "\t\t\t     10.42.0.4 expires 1s }\n\t}\n"
        "\tset clients/gone {\n\t\telements = { 10.42.0.9 expires 1h }\n\t}\n"
        "\tset clients/empty {\n\t\ttype ipv4_addr\n\t}\n}\n"
    )
    ruleset = Ruleset(sets={"clients/a": "", "clients/empty": ""})
    assert keep_clients(listing, ruleset) == (
        "add element ip kubelite clients/a { 10.42.0.2 expires 2h59m59s996ms, "
        "10.42.0.3 expires 5s, 10.42.0.4 expires 1s }\n"
    )
    assert keep_clients("", ruleset) == ""
