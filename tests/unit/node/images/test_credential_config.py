"""Which programs give logins for images."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubelite.limits import CREDENTIAL_CONFIG
from kubelite.node.images.credential_config import (
    CONFIG_VERSIONS,
    REQUEST_VERSIONS,
    CredentialConfigInvalid,
    CredentialProvider,
    TokenAttributes,
    read_credential_providers,
)

V1 = "credentialprovider.kubelet.k8s.io/v1"
NAMED = {"name": "ecr", "apiVersion": V1, "matchImages": ["*.r.io"], "defaultCacheDuration": "12h"}


def config(*providers: Any, **fields: Any) -> dict[str, Any]:
    kind = {"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1"}
    return {**kind, "providers": list(providers), **fields}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ecr", "gcr"):
        (folder / name).touch(0o755)
    (folder / "text").touch(0o644)
    return folder


def read(programs: Path, content: Any, name: str = "c.yaml") -> tuple[CredentialProvider, ...]:
    file = programs.parent / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_credential_providers(str(file), str(programs))


def test_a_provider_is_read(programs: Path) -> None:
    text = f"""
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: ecr
  apiVersion: {V1}
  matchImages: ["*.dkr.ecr.*.amazonaws.com", r.io:5000/a]
  defaultCacheDuration: 1m30s
  args: [get, --quiet]
  env: [{{name: AWS_PROFILE, value: node}}]
"""
    assert read(programs, text) == (
        CredentialProvider(
            "ecr",
            programs / "ecr",
            V1,
            ("*.dkr.ecr.*.amazonaws.com", "r.io:5000/a"),
            90.0,
            ("get", "--quiet"),
            (("AWS_PROFILE", "node"),),
        ),
    )


def test_the_files_of_a_folder_are_joined_in_their_order(programs: Path) -> None:
    folder = programs.parent / "conf"
    folder.mkdir()
    (folder / "b.json").write_text(json.dumps(config(NAMED)))
    (folder / "a.yml").write_text(json.dumps(config({**NAMED, "name": "gcr"})))
    (folder / "c.txt").write_text("not read")
    found = read_credential_providers(str(folder), str(programs))
    assert [one.name for one in found] == ["gcr", "ecr"]
    (folder / "d.yaml").write_text(json.dumps(config(NAMED)))
    with pytest.raises(CredentialConfigInvalid, match='duplicate provider name "ecr" found'):
        read_credential_providers(str(folder), str(programs))


def test_without_settings_there_is_none() -> None:
    assert read_credential_providers("", "") == ()


def test_both_settings_are_needed(programs: Path) -> None:
    with pytest.raises(CredentialConfigInvalid, match="config path is empty"):
        read_credential_providers("", str(programs))
    for absent in ("", "/nowhere"):
        with pytest.raises(CredentialConfigInvalid, match=f"directory {absent} did not exist"):
            read_credential_providers(str(programs), absent)
    with pytest.raises(CredentialConfigInvalid, match='unable to access path "/nowhere": No such'):
        read_credential_providers("/nowhere", str(programs))
    with pytest.raises(CredentialConfigInvalid, match="no configuration files found in directory"):
        read_credential_providers(str(programs), str(programs))


TOLD = {
    "serviceAccountTokenAudience": "registry",
    "cacheType": "Token",
    "requireServiceAccount": True,
}


def told(**changed: Any) -> Any:
    return config({**NAMED, "tokenAttributes": {**TOLD, **changed}})


def test_what_a_program_is_told_of_accounts(programs: Path) -> None:
    [one] = read(programs, told(requiredServiceAccountAnnotationKeys=["Example.com/Role"]))
    assert one.token == TokenAttributes("registry", True, True, ("Example.com/Role",))
    [one] = read(programs, told(cacheType="ServiceAccount", requireServiceAccount=False))
    assert one.token == TokenAttributes("registry", False, False)
    [one] = read(programs, config(NAMED))
    assert one.token is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "error decoding config"),
        ("[1]", "error decoding config"),
        ("[" * 5000, "error decoding config"),
        (config(NAMED, more=1), "unknown field `more`"),
        (config({**NAMED, "arg": []}), "unknown field `arg`"),
        (config(NAMED, kind="Other"), 'no kind "Other" is registered'),
        (config(NAMED, apiVersion="v1"), 'is registered for version "v1"'),
        (config(), "providers: Required value: at least 1 item in plugins is required"),
        (config({**NAMED, "name": "a/b"}), "provider name cannot contain '/'"),
        (config({**NAMED, "name": "a b"}), "provider name cannot contain spaces"),
        (config({**NAMED, "name": ".."}), "provider name cannot be '..'"),
        (config({**NAMED, "apiVersion": ""}), "providers.apiVersion: Required value"),
        (config({**NAMED, "apiVersion": "v1"}), 'providers.apiVersion: Unsupported value: "v1"'),
        (config({**NAMED, "matchImages": []}), "at least 1 item in matchImages is required"),
        (config({**NAMED, "matchImages": ["a b"]}), "match image is invalid"),
        (config({**NAMED, "matchImages": ["a:b"]}), "match image is invalid"),
        (config({**NAMED, "defaultCacheDuration": None}), "defaultCacheDuration: Required value"),
        (config({**NAMED, "defaultCacheDuration": "-1s"}), "must be greater than or equal to 0"),
        (config({**NAMED, "defaultCacheDuration": "day"}), "time: invalid duration"),
        (
            told(serviceAccountTokenAudience=""),
            "tokenAttributes.serviceAccountTokenAudience: Required value",
        ),
        (told(requireServiceAccount=None), "tokenAttributes.requireServiceAccount: Required value"),
        (
            told(requireServiceAccount=False, requiredServiceAccountAnnotationKeys=["a"]),
            "requireServiceAccount cannot be false when requiredServiceAccountAnnotationKeys is set",
        ),
        (
            told(requiredServiceAccountAnnotationKeys=["a", "a"]),
            'tokenAttributes.requiredServiceAccountAnnotationKeys: Duplicate value: "a"',
        ),
        (
            told(optionalServiceAccountAnnotationKeys=["A b"]),
            'tokenAttributes.optionalServiceAccountAnnotationKeys: Invalid value: "A b": ',
        ),
        (
            told(
                requiredServiceAccountAnnotationKeys=["b", "a"],
                optionalServiceAccountAnnotationKeys=["a"],
            ),
            'tokenAttributes: Invalid value: ["a"]: annotation keys cannot be both required and optional',
        ),
        (
            told(cacheType=""),
            "cacheType: Required value: cacheType is required to be set when tokenAttributes is specified. Supported",
        ),
        (
            told(cacheType="Pod"),
            'cacheType: Unsupported value: "Pod": supported values: "ServiceAccount", "Token"',
        ),
        (told(more=1), "unknown field `more`"),
        (
            config({**NAMED, "apiVersion": REQUEST_VERSIONS[1], "tokenAttributes": TOLD}),
            "Forbidden: tokenAttributes is only supported for credentialprovider.kubelet.k8s.io/v1 API version",
        ),
        (
            config({**NAMED, "tokenAttributes": TOLD}, apiVersion=CONFIG_VERSIONS[1]),
            'unknown field "tokenAttributes"',
        ),
        (config({**NAMED, "name": "none"}), "/bin/none did not exist"),
        (config({**NAMED, "name": "text"}), "/bin/text: permission denied"),
        (" " * (CREDENTIAL_CONFIG.value + 1), "is larger than"),
    ],
)
def test_what_cannot_be_used_is_refused(programs: Path, content: Any, reason: str) -> None:
    with pytest.raises(CredentialConfigInvalid) as caught:
        read(programs, content)
    assert reason in str(caught.value)


def test_all_that_is_wrong_is_told(programs: Path) -> None:
    with pytest.raises(CredentialConfigInvalid, match=r": \[.*name.*, .*apiVersion.*\]$"):
        read(programs, config({**NAMED, "name": ".", "apiVersion": ""}))
