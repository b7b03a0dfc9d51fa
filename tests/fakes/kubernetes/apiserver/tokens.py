"""
Bearer tokens: the administrator's, and those of service accounts.

``handlers`` asks who a token is, ``subresources`` makes one for a TokenRequest.
A service account's token is a JWT as on a real cluster, signed with a secret
of this server: it ends when its time is up, and with its account or its pod.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes.apiserver.calls import ANONYMOUS, Call, User
from tests.fakes.kubernetes.apiserver.checks import checked
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request, cause, invalid, not_found
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.store import Store
from tests.fakes.kubernetes.times import written

ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
ISSUER = "https://kubernetes.default.svc.cluster.local"
SHORTEST_SECONDS = 600
HEADER = {"alg": "HS256", "typ": "JWT"}


@dataclass
class Tokens:
    """``admin`` is the token of who may do everything; ``secret`` signs the others."""

    admin: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def user(self, authorization: str, store: Store) -> User:
        """Return who sends a header ``Authorization``; raises 401 for a token that is not valid."""
        kind, _, token = authorization.partition(" ")
        if not authorization:
            return ANONYMOUS
        if kind.lower() == "bearer" and hmac.compare_digest(token.encode(), self.admin.encode()):
            return ADMIN
        claims = self._claims(token)
        if kind.lower() != "bearer" or claims is None or not _is_valid(claims, store):
            raise ApiError(401, "Unauthorized")
        return _user(claims)

    def request(self, store: Store, call: Call, body: Any) -> Json:
        """Answer a TokenRequest with a token for the service account that the call names."""
        request = checked(call, body or {}, "authentication.k8s.io/v1", "TokenRequest")
        account = store.get("serviceaccounts", call.namespace, call.name)
        if account is None:
            raise not_found("serviceaccounts", call.name)
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        if seconds < SHORTEST_SECONDS:
            why = "may not specify a duration less than 10 minutes"
            raise invalid("TokenRequest", "", [cause("spec.expirationSeconds", "Invalid", why)])
        issued = int(time.time())
        claims: Json = {
            "aud": spec.get("audiences") or [ISSUER],
            "exp": issued + seconds,
            "iat": issued,
            "nbf": issued,
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{call.namespace}:{call.name}",
            "kubernetes.io": {
                "namespace": call.namespace,
                "serviceaccount": {"name": call.name, "uid": account["metadata"]["uid"]},
                **_bound(store, call, spec.get("boundObjectRef")),
            },
        }
        status = {"token": self._signed(claims), "expirationTimestamp": written(claims["exp"])}
        filled = {"audiences": claims["aud"], "expirationSeconds": seconds}
        return {**request, "spec": {**spec, **filled}, "status": status}

    def _signed(self, claims: Json) -> str:
        text = f"{_encoded(json.dumps(HEADER).encode())}.{_encoded(json.dumps(claims).encode())}"
        return f"{text}.{self._signature(text)}"

    def _signature(self, text: str) -> str:
        return _encoded(hmac.digest(self.secret, text.encode(), hashlib.sha256))

    def _claims(self, token: str) -> Json | None:
        """Return what a token of ours says, None if it is none."""
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return None
        try:
            middle = text.partition(".")[2]
            claims: Json = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        except (binascii.Error, ValueError):
            return None
        return claims


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bound(store: Store, call: Call, reference: Json | None) -> Json:
    if not reference:
        return {}
    if reference.get("kind") != "Pod":
        raise bad_request(f"tokens are bound to pods here, not to {reference.get('kind')!r}")
    pod = store.get("pods", call.namespace, reference.get("name", ""))
    if pod is None:
        raise not_found("pods", reference.get("name", ""))
    uid = pod["metadata"]["uid"]
    if reference.get("uid") not in (None, "", uid):
        raise ApiError(
            409, f"the UID in the bound object reference ({reference['uid']}) is not {uid}"
        )
    return {"pod": {"name": pod["metadata"]["name"], "uid": uid}}


def _is_valid(claims: Json, store: Store) -> bool:
    if claims["exp"] < time.time() or ISSUER not in claims["aud"]:
        return False
    about = claims["kubernetes.io"]
    for qualified, key in (("serviceaccounts", "serviceaccount"), ("pods", "pod")):
        if key in about:
            found = store.get(qualified, about["namespace"], about[key]["name"])
            if found is None or found["metadata"]["uid"] != about[key]["uid"]:
                return False
    return True


def _user(claims: Json) -> User:
    about = claims["kubernetes.io"]
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{about['namespace']}",
        "system:authenticated",
    )
    return User(claims["sub"], groups, about["serviceaccount"]["uid"])
