"""The keys that the chart makes: new ones for a new release, and no checksum that tells them."""

import hashlib
import json
from typing import Any

import pytest
from caesarion_hub.gateway.config import read_values
from caesarion_hub.gateway.store.audit_key import AuditKey

from tests.helm import Manifest, Manifests, render
from tests.values import ADMIN_PASSWORD, USER_PASSWORD

NAMES = [
    *("admin_password", "audit_key", "cookie_secret", "crypt_key"),
    *("gateway_token", "proxy_token", "user_password"),
]


def another(attempt: int) -> Manifests:
    """Return the manifests of another run, with keys of its own."""
    return render({"hub": {"annotations": {"attempt": str(attempt)}}})


def template(manifests: Manifests, component: str) -> Manifest:
    found: Manifest = manifests.one("Deployment", f"caesarion-{component}")["spec"]["template"]
    return found


def test_every_release_has_keys_of_its_own() -> None:
    first, second = (another(attempt).secret("caesarion-keys") for attempt in (1, 2))
    assert sorted(first) == sorted(second) == NAMES
    assert [name for name in NAMES if first[name] == second[name]] == []
    assert len({*first.values(), *second.values()}) == 14


def test_the_keys_are_what_their_readers_ask_for() -> None:
    keys = render().secret("caesarion-keys")
    assert (len(keys["user_password"]), len(keys["admin_password"])) == (16, 40)
    # JupyterHub reads these two as hexadecimal digits.
    assert len(bytes.fromhex(keys["cookie_secret"])) == 32
    assert len(bytes.fromhex(keys["crypt_key"])) == 32
    assert len(keys["gateway_token"]) == len(keys["proxy_token"]) == 64
    assert AuditKey.from_text(keys["audit_key"]).signs


def test_the_operators_passwords_win() -> None:
    auth = {"userPassword": USER_PASSWORD, "adminPassword": ADMIN_PASSWORD}
    keys = render({"auth": auth}).secret("caesarion-keys")
    assert (keys["user_password"], keys["admin_password"]) == (USER_PASSWORD, ADMIN_PASSWORD)


def test_the_operators_own_secret_takes_the_place_of_the_charts() -> None:
    manifests = render({"hub": {"existingSecret": "theirs"}})
    assert "caesarion-keys" not in {m["metadata"]["name"] for m in manifests.of("Secret")}
    text = str(list(manifests.pods()))
    assert "'theirs'" in text
    assert "caesarion-keys" not in text


def test_the_checksums_are_of_the_keys_that_the_secret_holds() -> None:
    """Made twice in one run, they would restart everything at the first upgrade."""
    manifests = render()
    keys = manifests.secret("caesarion-keys")
    for component, annotation, names in (
        ("gateway", "checksum/keys", ["audit_key", "gateway_token"]),
        ("proxy", "checksum/token", ["proxy_token"]),
    ):
        made = {name: keys[name] for name in names}
        text = json.dumps(["", made], separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        annotations = template(manifests, component)["metadata"]["annotations"]
        assert annotations[annotation] == digest


def test_only_the_gateway_mounts_the_key_of_the_audit_and_its_environment_names_it() -> None:
    manifests = render()
    holders = {name for name, pod in manifests.pods() if "audit_key" in json.dumps(pod)}
    assert holders == {"Deployment caesarion-gateway"}
    (gateway,) = template(manifests, "gateway")["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in gateway["volumeMounts"]}
    (variable,) = (one for one in gateway["env"] if "AUDIT_KEY" in one["name"])
    assert variable["value"] == f"{mounts['audit']}/audit_key"
    values = read_values({variable["name"]: variable["value"]})
    assert str(values.audit.key_file) == variable["value"]


@pytest.mark.parametrize(
    ("values", "restarted"),
    [
        ({"cull": {"timeout": 7}}, ["hub"]),
        ({"gateway": {"existingSecret": "other"}}, ["gateway"]),
        ({"gateway": {"baseUrl": "http://x/v1"}}, ["hub", "gateway"]),
        ({"hub": {"existingSecret": "other"}}, ["hub", "proxy", "gateway"]),
        ({"gateway": {"replicas": 0}}, []),
        ({"ingress": {"enabled": True}}, []),
        ({"singleuser": {"networkPolicy": {"enabled": False}}}, []),
    ],
    ids=str,
)
def test_a_pod_starts_anew_only_if_what_it_reads_has_changed(
    values: dict[str, Any], restarted: list[str]
) -> None:
    theirs = {"hub": {"existingSecret": "theirs"}}
    before, after = render(theirs), render(theirs, values)
    changed = [
        component
        for component in ("hub", "proxy", "gateway")
        if template(before, component) != template(after, component)
    ]
    assert changed == restarted
