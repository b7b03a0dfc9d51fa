"""What helm says at the end: a checklist of what is left to do, and only that."""

from typing import Any

import pytest

from tests.helm import CHART, as_yaml, run

PASSWORDS = "[ ] You can log in: any user with the first password"
NO_TLS = "[ ] Traffic is encrypted"
NO_ADMIN = "[ ] There is an administrator"
DEMO = "[ ] A real model answers"
KEY_IN_VALUES = "[ ] The provider's key is in a Secret of its own"
SHARED_ORIGIN = "[ ] Users' pages are not separated in the browser"
FORGETS = "[ ] The hub's database may be lost"
NO_DATABASE = "[ ] Usage is stored and budgets are enforced"
NO_INTERNET = "[ ] Users' code has no internet access"
NO_POLICY = "[ ] Users' code has unrestricted network access"
KEYS_MADE = "[ ] You upgrade with helm: it keeps the keys in the Secret caesarion-keys"
BESIDE_SECRETS = "[ ] Users' pods are in the hub's namespace"

WANTS: dict[str, dict[str, Any]] = {
    NO_TLS: {"ingress": {"enabled": True, "tls": [{"hosts": ["x"], "secretName": "y"}]}},
    NO_ADMIN: {"auth": {"adminUsers": ["ada"]}},
    DEMO: {"gateway": {"existingSecret": "provider"}},
    SHARED_ORIGIN: {"hub": {"subdomainHost": "https://x"}},
    PASSWORDS: {"hub": {"config": {"JupyterHub": {"authenticator_class": "github"}}}},
    NO_INTERNET: {
        "singleuser": {"networkPolicy": {"egressAllowRules": {"nonPrivateIPs": True}}},
    },
    KEYS_MADE: {"hub": {"existingSecret": "theirs"}},
    BESIDE_SECRETS: {"singleuser": {"namespace": {"name": "people"}}},
}
"""What the checklist says of the defaults, and the values that do it."""


def notes(values: dict[str, Any], namespace: str = "hub") -> str:
    """Return the notes; an install that changes nothing prints them, and so does no template."""
    where = ["--namespace", namespace, "--dry-run=client", "--values", "-"]
    text = run(["install", "caesarion", str(CHART), *where], as_yaml(values))
    return text.partition("\nNOTES:\n")[2]


def test_who_keeps_no_ledger_is_told_that_budgets_are_forgotten() -> None:
    assert NO_DATABASE not in notes({})
    nowhere: dict[str, Any] = {"pvc": {"enabled": False}}
    assert NO_DATABASE in notes({"gateway": {"database": nowhere}})
    elsewhere = nowhere | {"url": "postgresql://x/y"}
    assert NO_DATABASE not in notes({"gateway": {"database": elsewhere}})


@pytest.mark.parametrize("point", WANTS)
def test_what_is_done_is_no_longer_on_the_list(point: str) -> None:
    assert point in notes({})
    assert point not in notes(WANTS[point])


@pytest.mark.parametrize(
    ("point", "values"),
    [
        (KEY_IN_VALUES, {"gateway": {"apiKey": "sk-secret"}}),
        (FORGETS, {"hub": {"db": {"type": "sqlite-emptydir"}}}),
        (NO_POLICY, {"singleuser": {"networkPolicy": {"enabled": False}}}),
    ],
)
def test_what_is_risky_is_on_the_list(point: str, values: dict[str, Any]) -> None:
    assert point not in notes({})
    assert point in notes(values)


@pytest.mark.parametrize(
    ("values", "way"),
    [
        ({}, "kubectl -n hub port-forward service/caesarion-proxy 8000:80"),
        ({"hub": {"baseUrl": "/lab/"}}, "open http://127.0.0.1:8000/lab/"),
        ({"proxy": {"service": {"type": "LoadBalancer"}}}, "get service caesarion-proxy"),
        ({"ingress": {"enabled": True, "hosts": ["a.example.org"]}}, "http://a.example.org/"),
        ({"ingress": {"enabled": True}}, "kubectl -n hub get ingress caesarion"),
        ({"hub": {"subdomainHost": "https://a.example.org"}}, "https://a.example.org/"),
        (
            {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
            "kubectl -n hub get httproute caesarion",
        ),
    ],
    ids=str,
)
def test_it_says_how_to_come_in(values: dict[str, Any], way: str) -> None:
    assert way in notes(values)


def test_it_tells_no_secret() -> None:
    text = notes({"auth": {"userPassword": "the users' password"}, "gateway": {"apiKey": "sk-1"}})
    assert "the users' password" not in text
    assert "sk-1" not in text
    assert "get secret caesarion-keys -o jsonpath='{.data.user_password}' | base64 -d" in text
