"""The kernel's own program takes every ruleset that hostile objects become, and it holds nothing but ours."""

from contextlib import ExitStack
from pathlib import Path

from fuzz.network import TARGETS, ruleset_of

from integration.net_namespaces import in_new_namespace, needs_root, shell
from kubelite.net.ruleset import ProxySettings, Ruleset, replace_all

pytestmark = needs_root

SETTINGS = ProxySettings(node_name="node-1")
CASES = 800


def _rulesets() -> list[Ruleset]:
    target = next(target for target in TARGETS if target.name == "rules")
    mutator = target.mutator()
    inputs = [*target.corpus.values(), *(mutator.case(number) for number in range(CASES))]
    return [
        rules
        for data in inputs
        if (rules := ruleset_of(data)) is not None and (rules.chains or rules.elements)
    ]


def test_nft_takes_every_ruleset(tmp_path: Path) -> None:
    rulesets = _rulesets()
    assert len(rulesets) > CASES // 5
    path = tmp_path / "rules"

    async def main(_: ExitStack) -> None:
        shell("nft add table ip bystander")
        for rules in rulesets:
            path.write_text(replace_all(rules, SETTINGS))
            shell(f"nft --check --file {path}")
        # and the last for real: what is there afterwards is the bystander and our one table
        shell(f"nft --file {path}")
        assert sorted(shell("nft list tables").split("\n")[:-1]) == [
            "table ip bystander",
            "table ip kubelite",
        ]

    in_new_namespace(main)
