"""
The HTTPRoute before the two releases: which browser reaches which of them. No input or output.

Browsers are told apart by the cookie ``caesarion-release``, which each release's hub sets
(``hub.stickyCookie``), because a hub knows only its own logins and servers: a request in
the middle of a visit must not reach the other one. The weights say where browsers go that
are new. The state of a move is in the route itself, so that any machine can go on with it.
"""

import re
from dataclasses import dataclass
from typing import Any

COOKIE = "caesarion-release"
COLOURS = ("blue", "green")
COOKIES = "caesarion.delivery/cookies"
"""The route's annotation with the cookies of its releases: ``blue=blue-20261130,green=...``."""

LIVE = "caesarion.delivery/live"
"""The route's annotation with the colour that programs reach, and users by default."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where the route hangs, and for which addresses."""

    name: str
    """The route's name, and the beginning of the releases': ``caesarion`` for caesarion-blue."""
    namespace: str
    gateway: str
    """``NAMESPACE/NAME`` or ``NAMESPACE/NAME/LISTENER`` of the Gateway."""
    hostnames: tuple[str, ...] = ()
    base_url: str = "/"


@dataclass(frozen=True)
class State:
    """
    What the route does.

    ``cookies`` has the cookie of each colour that browsers can reach; ``new_weight`` is the
    share, in percent, of new browsers that go to the colour that is not ``live``.
    """

    live: str
    cookies: dict[str, str]
    new_weight: int = 0

    @property
    def new(self) -> str | None:
        """The colour that is on its way in, if there is one."""
        other = other_than(self.live)
        return other if other in self.cookies else None


def other_than(colour: str) -> str:
    """Return the other colour."""
    return COLOURS[1 - COLOURS.index(colour)]


def make_route(place: Place, state: State) -> Json:
    """
    Return the HTTPRoute.

    In order: whoever starts a server does so in the new release, once all new browsers
    go there; a browser stays with the release whose cookie it has; a program, which has
    a token and no cookie, stays with the live release, which knows its token; the rest by
    weight.
    """
    live = _backend(place, state.live)
    rules: list[Json] = []
    if state.new:
        new = _backend(place, state.new)
        if state.new_weight == 100:
            spawn = f"{place.base_url}hub/spawn"
            rules.append({"matches": [_path(spawn)], "backendRefs": [new]})
        for colour in (state.new, state.live):
            match = _path(place.base_url) | _header("Cookie", cookie_pattern(state.cookies[colour]))
            rules.append({"matches": [match], "backendRefs": [_backend(place, colour)]})
        program = _path(place.base_url) | _header("Authorization", ".+")
        rules.append({"matches": [program], "backendRefs": [live]})
        weights = [
            live | {"weight": 100 - state.new_weight},
            new | {"weight": state.new_weight},
        ]
    else:
        weights = [live]
    rules.append({"matches": [_path(place.base_url)], "backendRefs": weights})
    gateway, *listener = place.gateway.split("/")[1:]
    parent = {"namespace": place.gateway.split("/")[0], "name": gateway}
    if listener:
        parent["sectionName"] = listener[0]
    cookies = ",".join(f"{colour}={value}" for colour, value in sorted(state.cookies.items()))
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": {"app.kubernetes.io/managed-by": "caesarion-bluegreen"},
            "annotations": {LIVE: state.live, COOKIES: cookies},
        },
        "spec": {
            "parentRefs": [parent],
            **({"hostnames": list(place.hostnames)} if place.hostnames else {}),
            "rules": rules,
        },
    }


def read_route(route: Json) -> State:
    """Return the state of a route that :func:`make_route` made; raise ValueError for another."""
    annotations = route["metadata"].get("annotations") or {}
    if annotations.get(LIVE) not in COLOURS or COOKIES not in annotations:
        name = route["metadata"]["name"]
        raise ValueError(
            f"The HTTPRoute {name} was not made by deploy/bluegreen. Set httpRoute.enabled to "
            "false in the release that it belongs to, or choose another --name."
        )
    live = annotations[LIVE]
    cookies = dict(one.split("=", 1) for one in annotations[COOKIES].split(","))
    backends = route["spec"]["rules"][-1]["backendRefs"]
    weight = backends[1]["weight"] if len(backends) > 1 else 0
    return State(live, cookies, weight)


def accepted_by(route: Json) -> str:
    """
    Return why the Gateway does not serve the route, or an empty string if it does.

    The status must be of this generation of the route, with Accepted and ResolvedRefs.
    """
    generation = route["metadata"]["generation"]
    parents = (route.get("status") or {}).get("parents") or []
    if not parents:
        return "no Gateway has taken it"
    for parent in parents:
        conditions = {one["type"]: one for one in parent.get("conditions") or []}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(kind)
            if condition is None or condition.get("observedGeneration", 0) < generation:
                return f"the Gateway has not looked at it ({kind})"
            if condition["status"] != "True":
                return f"{condition['reason']}: {condition['message']}"
    return ""


def cookie_pattern(value: str) -> str:
    """Return a regular expression for a whole Cookie header that holds the cookie."""
    return rf"^(.*;\s*)?{COOKIE}={re.escape(value)}(;.*)?$"


def _backend(place: Place, colour: str) -> Json:
    return {"name": f"{place.name}-{colour}-proxy", "port": 80}


def _path(prefix: str) -> Json:
    return {"path": {"type": "PathPrefix", "value": prefix}}


def _header(name: str, pattern: str) -> Json:
    return {"headers": [{"type": "RegularExpression", "name": name, "value": pattern}]}
