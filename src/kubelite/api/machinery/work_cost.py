"""The cost of each step of a request, in bytes touched times passes, for `kubelite.offload`.

Each is an upper estimate, known before the work and cheap to compute. The passes were measured with the slowest input:
a byte of cost takes 0.3 microseconds, so `limits.INLINE_WORK` is 10 ms.
"""

from typing import Any, Literal

from kubelite.api.machinery.json_patch import json_patch_cost

_YAML_PASSES = 2
_PROTOBUF_PASSES = 3
_JSON_BYTES_A_PASS = 4  # bytes that the decoder reads in the time of one byte of cost
_SHAPE_PASSES = 1  # pruning, defaults, types
_RULES_PASSES = 2  # a list of addresses
_EXPRESSION_PASSES = 12  # 300 microseconds for a rule of 80 bytes
_WARNINGS_PASSES = 1  # a list of addresses
_OWNERSHIP_PASSES = 1  # managed fields: comparing and encoding
_MERGE_PASSES = 2

PatchType = Literal["json", "merge", "strategic", "apply"]


def json_cost(body_bytes: int) -> int:
    """Return the cost of `json_reading.read_json`, duplicates included."""
    return body_bytes // _JSON_BYTES_A_PASS


def yaml_cost(body_bytes: int) -> int:
    """Return the cost of `yaml_reading.read_yaml`."""
    return body_bytes * _YAML_PASSES


def protobuf_cost(body_bytes: int) -> int:
    """Return the cost of `protobuf.read_protobuf`."""
    return body_bytes * _PROTOBUF_PASSES


def shape_cost(object_bytes: int) -> int:
    """Return the cost of `structural.structure` and `defaulting.default`."""
    return object_bytes * _SHAPE_PASSES


def rules_cost(object_bytes: int, old_bytes: int = 0) -> int:
    """Return the cost of `rules.validate`; `old_bytes` are those of the object replaced."""
    return (object_bytes + old_bytes) * _RULES_PASSES


def definition_cost(object_bytes: int) -> int:
    """Return the cost of the rules of a custom resource definition, which compile its expressions."""
    return object_bytes * _EXPRESSION_PASSES


def warnings_cost(object_bytes: int) -> int:
    """Return the cost of `rules.warn`."""
    return object_bytes * _WARNINGS_PASSES


def ownership_cost(object_bytes: int, old_bytes: int = 0) -> int:
    """Return the cost of `managed_fields.track`."""
    return (object_bytes + old_bytes) * _OWNERSHIP_PASSES


def write_cost(object_bytes: int, old_bytes: int = 0) -> int:
    """Return the cost of all steps of a write between the decoded body and the store."""
    return (
        2 * shape_cost(object_bytes)  # before and after admission
        + ownership_cost(object_bytes, old_bytes)
        + rules_cost(object_bytes, old_bytes)
    )


def patch_cost(patch_type: PatchType, document_bytes: int, patch_bytes: int, patch: Any) -> int:
    """Return the cost of applying a decoded patch of `patch_bytes` to a document."""
    if patch_type == "json":
        return json_patch_cost(document_bytes, patch) + patch_bytes
    if patch_type == "merge":
        return document_bytes // _JSON_BYTES_A_PASS + patch_bytes
    merging = (document_bytes + patch_bytes) * _MERGE_PASSES
    return merging + (ownership_cost(patch_bytes, document_bytes) if patch_type == "apply" else 0)
