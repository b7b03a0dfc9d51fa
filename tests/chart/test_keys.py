"""The keys that the chart makes: new ones for a new release, and no checksum that tells them."""

import hashlib
import json
from typing import Any

import pytest

from tests.helm import Manifest, Manifests, render
from tests.values import ADMIN_PASSWORD, USER_PASSWORD

NAMES = [
    *("admin_password", "cookie_secret", "crypt_key"),
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
    assert len({*first.values(), *second.values()}) == 12


def test_the_keys_are_what_their_readers_ask_for() -> None:
    keys = render().secret("caesarion-keys")
    assert (len(keys["user_password"]), len(keys["admin_password"])) == (16, 40)
    # JupyterHub reads these two as hexadecimal digits.
    assert len(bytes.fromhex(keys["cookie_secret"])) == 32
    assert len(bytes.fromhex(keys["crypt_key"])) == 32
    assert len(keys["gateway_token"]) == len(keys["proxy_token"]) == 64


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
    for component, name in (("gateway", "gateway_token"), ("proxy", "proxy_token")):
        text = json.dumps(["", {name: keys[name]}], separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        annotations = template(manifests, component)["metadata"]["annotations"]
        assert annotations["checksum/token"] == digest


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
