"""Rules of ConfigMaps and Secrets."""

import base64

from fakes.rule_samples import lines

from kubelite.api.registry.rules import config


def test_keys_and_sizes() -> None:
    assert config.config_map({"data": {"a.b": "c"}, "binaryData": {"d": "AA=="}}) == []
    found = lines(config.config_map({"data": {"a/b": "c", "d": ""}, "binaryData": {"d": "AA=="}}))
    assert found[0].startswith(
        'data[a/b]: Invalid value: "a/b": a valid config key must consist of'
    )
    assert found[1] == 'data[d]: Invalid value: "d": duplicate of key present in binaryData'
    big = {"data": {"a": "x" * (config.SIZE_LIMIT_BYTES + 1)}}
    assert lines(config.config_map(big)) == ["[]: Too long: may not be more than 1048576 bytes"]


def test_immutable_ones_stay() -> None:
    old = {"immutable": True, "data": {"a": "b"}}
    assert config.config_map_update(old, old) == []
    assert lines(config.config_map_update({"data": {"a": "c"}}, old)) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_secret_types() -> None:
    assert config.secret({"type": "Opaque", "data": {"a": "AA=="}}) == []
    assert lines(config.secret({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA=="}})) == [
        "data[tls.key]: Required value"
    ]
    assert len(config.secret({"type": "kubernetes.io/basic-auth"})) == 2
    broken = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "AA=="}}
    (line,) = lines(config.secret(broken))
    assert "<secret contents redacted>" in line
    old = {"type": "Opaque"}
    assert lines(config.secret_update({"type": "other"}, old)) == [
        'type: Invalid value: "other": field is immutable'
    ]


def test_a_deep_docker_configuration_is_no_json() -> None:
    for text in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"1" * 5000, b"\xff"):
        data = {".dockerconfigjson": base64.b64encode(text).decode()}
        found = config.secret({"type": "kubernetes.io/dockerconfigjson", "data": data})
        (line,) = lines(found)
        assert line.startswith(
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
        )


def test_what_a_secret_holds_is_never_said() -> None:
    hidden = base64.b64encode(b"hidden").decode()
    for kind in (
        "Opaque",
        "kubernetes.io/dockercfg",
        "kubernetes.io/tls",
        "kubernetes.io/basic-auth",
    ):
        data = {"a/b": hidden, ".dockercfg": hidden, "tls.crt": hidden, "ssh-privatekey": hidden}
        new = {"type": kind, "data": data, "stringData": {"x/y": "hidden"}}
        old = {"type": "other", "immutable": True, "data": {"a": hidden}}
        said = str(lines([*config.secret(new), *config.secret_update(new, old)]))
        assert hidden not in said
        assert "hidden" not in said
