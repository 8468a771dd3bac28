from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, growth

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.bodies import check_type, findings, metadata_of
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.options import WriteOptions

SCHEMA = compile_struct(Deployment)
TWICE = (
    'duplicate field "spec.odd"',
    'duplicate field "spec.odd.a"',
    'duplicate field "spec.replicas"',
)
LINES = ('line 3: key "a" already set in map', 'line 5: key "b" already set in map')


def options(*duplicates: str, validation: str = "") -> WriteOptions:
    return WriteOptions(duplicate_fields=duplicates, field_validation=validation)


def test_unknown_fields_come_first_and_are_no_duplicates_besides() -> None:
    assert findings(SCHEMA, ["spec.odd"], options(*TWICE)) == (
        'unknown field "spec.odd"',
        'duplicate field "spec.replicas"',
    )


def test_a_patch_tells_all_its_duplicates_first() -> None:
    found = findings(SCHEMA, ["spec.odd"], options(*TWICE), patched=True)
    assert found == (*TWICE, 'unknown field "spec.odd"')


def test_duplicates_in_yaml_are_warnings_by_line() -> None:
    found = findings(SCHEMA, ["spec.odd"], options(*LINES))
    assert found == (*LINES, 'unknown field "spec.odd"')


def test_strict_validation_of_yaml_words_the_error_as_the_decoder_does() -> None:
    with pytest.raises(BadRequest) as caught:
        findings(SCHEMA, ["spec.odd"], options(*LINES, validation="Strict"))
    assert str(caught.value) == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'yaml: unmarshal errors:\n  line 3: key "a" already set in map\n'
        '  line 5: key "b" already set in map, unknown field "spec.odd"'
    )


def test_nothing_is_said_where_nobody_asks() -> None:
    assert findings(SCHEMA, ["spec.odd"], options(*TWICE, validation="Ignore")) == ()
    assert findings(SCHEMA, [], options(validation="Strict")) == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"apiVersion": 5, "kind": "Other"}, "number into Go struct field .apiVersion"),
        ({"apiVersion": {"hidden": 1}}, "object into Go struct field .apiVersion"),
        ({"kind": ["hidden"]}, "array into Go struct field .kind"),
        ({"kind": True}, "bool into Go struct field .kind"),
    ],
)
def test_a_type_that_is_no_text_is_refused(body: dict[str, Any], said: str) -> None:
    deployments = next(row for row in RESOURCES if row.type is Deployment)
    with pytest.raises(BadRequest) as refused:
        check_type(deployments, body)
    assert said in refused.value.message
    assert "hidden" not in refused.value.message


def test_the_work_grows_no_faster_than_the_findings() -> None:
    def comparing(size: int) -> Callable[[], Any]:
        twice = [f'duplicate field "spec.a{index}.b"' for index in range(size)]
        unknown = [f"spec.c{index}" for index in range(size)]
        return lambda: findings(SCHEMA, unknown, options(*twice))

    assert growth(comparing) < RATIO_MAX


@pytest.mark.parametrize(
    ("custom", "into"), [(True, "value"), (False, r"struct field Cat\.metadata")]
)
def test_metadata_is_an_object(custom: bool, into: str) -> None:
    kind = GroupVersionKind("example.com", "v1", "Cat")
    said = f'^Cat in version "v1" .*: json: cannot unmarshal string into Go {into} of type v1.ObjectMeta'
    with pytest.raises(BadRequest, match=said):
        metadata_of({"metadata": "x"}, kind, custom=custom)
