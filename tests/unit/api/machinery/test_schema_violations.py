"""What is said of stored definitions whose schemas are not structural."""

from fakes.rule_samples import changed, definition, root_schema

from kubelite.api.machinery.schema_violations import structural_violations
from kubelite.limits import SHOWN_VALUE

AT = "spec.versions[0].schema.openAPIV3Schema"


def test_structural_ones_have_none() -> None:
    assert structural_violations(definition()) == ""
    assert structural_violations({}) == ""


def test_violations_are_told_in_one_message() -> None:
    one = f"{AT}.properties[spec].properties[a].type: Required value: must not be empty for specified object fields"
    assert structural_violations(definition({})) == one
    keeping = changed(definition({}), "spec.preserveUnknownFields", True)
    assert structural_violations(keeping) == (
        f"[spec.preserveUnknownFields: Invalid value: true: must be false, {one}]"
    )


def test_what_has_no_structural_form_is_told_by_version() -> None:
    assert structural_violations(definition({"id": "x"})) == (
        "failed to check validation schema for version v1: OpenAPIV3Schema 'id' is not supported"
    )


def test_the_message_is_bounded() -> None:
    fields = {f"field{index}": root_schema({}) for index in range(5000)}
    message = structural_violations(definition({"type": "object", "properties": fields}))
    assert len(message) == SHOWN_VALUE.value + len("...")
