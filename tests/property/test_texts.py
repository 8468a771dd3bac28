"""Whatever text a client sends, each reader takes it or says what is wrong: nothing else is raised."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fakes.rows import row_of
from hypothesis import example, given
from hypothesis import strategies as st

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery import names
from kubelite.api.machinery.field_selectors import parse_field_selector, required_values
from kubelite.api.machinery.intstr import percent_of, scaled_value
from kubelite.api.machinery.jsonpath import compile_path
from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.selectors import parse_selector
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.times import parse_time
from kubelite.api.machinery.yaml_reading import plain
from kubelite.api.registry.rules.batch import schedule_error
from kubelite.api.registry.rules.ip_formats import address, address_range
from kubelite.api.registry.rules.values import Out

SIGNS = st.sampled_from(
    [*"0123456789eE+-.,:/%*?#@!=<>()[]{}'\"_~ \n\tNULWZTKin²٣", "Ki", "9" * 5000, "0" * 400]
)
TEXTS = st.lists(SIGNS, max_size=12).map("".join) | st.text(max_size=20)
POD = compile_struct(Pod)


def shaped(text: str) -> None:
    """Shape a pod that has the text as a date and as a quantity."""
    resources = {"limits": {"cpu": text}}
    spec = {"containers": [{"name": "a", "resources": resources}]}
    structure(POD, {"metadata": {"creationTimestamp": text}})
    structure(POD, {"spec": spec})


READERS: list[Callable[[str], Any]] = [
    parse_quantity,
    canonical_quantity,
    parse_time,
    parse_selector,
    lambda text: parse_field_selector(text, row_of("", "Pod").fields),
    required_values,
    compile_path,
    lambda text: compile_path(f".a[?(@{text})]")({"a": [{"b": 1}]}),
    plain,
    schedule_error,
    lambda text: scaled_value(text, 10, round_up=True),
    lambda text: percent_of(text) if not names.percent(text) else None,
    lambda text: address(Out(), "a", text),
    lambda text: address_range(Out(), "a", text, canonical=True),
    names.dns_label,
    names.dns_subdomain,
    names.qualified_name,
    names.port_name,
    names.environment_name,
    names.config_key,
    shaped,
]


@pytest.mark.parametrize("read", READERS)
@example(text="9" * 5000)
@example(text="-" + "9" * 5000 + "e" + "9" * 5000)
@example(text="9" * 200 + "E-9")
@example(text="1e-600")
@example(text=".e1")
@given(text=TEXTS)
def test_any_text_is_taken_or_refused(read: Callable[[str], Any], text: str) -> None:
    with suppress(ValueError, BadRequest):
        read(text)


NUMBERS = st.integers(-(10**320), 10**320) | st.floats()


@given(NUMBERS)
def test_any_number_is_taken_or_refused(number: float) -> None:
    with suppress(ValueError):
        parse_quantity(number)
    for spec in (
        {"containers": [{"name": "a", "resources": {"limits": {"cpu": number}}}]},
        {"terminationGracePeriodSeconds": number},
        {"containers": [{"ports": [{"containerPort": number}]}]},
        {"containers": [{"livenessProbe": {"httpGet": {"port": number}}}]},
        {"nodeName": number},
    ):
        with suppress(BadRequest):
            structure(POD, {"spec": spec})
