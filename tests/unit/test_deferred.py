"""Routes that are compiled when a request begins like them, as Tornado's own would match."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import tornado
from caesarion import deferred
from caesarion.deferred import Route
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado import web
from tornado.routing import PathMatches

BASES = ("/", "/user/ada/", "/user/ada.b@example.org/", "/user/a%C3%A9-_~/")
RESTS = (
    *("api/status", "api/kernels/(?P<kernel_id>\\w+-\\w+)/channels", "static/(.*)", "/?"),
    *("api/contents%s/checkpoints", "api/contents(?P<path>(?:(?:/[^/]+)+|/?))", "tree.*", "ap+i"),
    *("(metrics)", "api/(x|y)", "api/spec/?$", "a{2}b", "é/x", "^/no", "a*", "lab(/?)"),
    *("(robots\\.txt|favicon\\.ico)", "api/(a)|b", "a[(]b|a", "[]|(]a", "a\\(|b", "a[^]|]b|(c)"),
)  # fmt: skip
PATHS = (
    *("api/status", "api/status/", "api/kernels/a-b/channels", "static/a/b.js", "", "/", "lab/"),
    *("api/contents/a/b", "tree", "api", "appi", "aab", "metrics", "api/x", "api/spec/", "xapi"),
)


def asked(path: str) -> Any:
    return SimpleNamespace(path=path)


def patterns() -> st.SearchStrategy[str]:
    made_up = st.text("ab/.*+?()|{}[]^$\\-%1,", max_size=8)
    return st.builds(str.__add__, st.sampled_from(BASES), st.sampled_from(RESTS) | made_up)


def paths() -> st.SearchStrategy[str]:
    made_up = st.text("ab/.-%1", max_size=6)
    return st.builds(str.__add__, st.sampled_from(BASES), st.sampled_from(PATHS) | made_up)


@pytest.mark.filterwarnings("ignore:Possible (nested set|set diff|set sym|set int|set un)")
@settings(max_examples=1000, deadline=None)
@given(patterns(), paths())
def test_a_route_matches_what_tornados_matches(pattern: str, path: str) -> None:
    try:
        usual = PathMatches(pattern)
    except (re.error, AssertionError):
        return  # Such a route is an error at another time.
    assert Route(pattern).match(asked(path)) == usual.match(asked(path))


def test_a_route_is_compiled_by_the_first_request_that_begins_like_it() -> None:
    route = Route("/user/ada/api/(.*)")
    assert route.match(asked("/user/ada/lab")) is None
    assert "regex" not in vars(route)
    assert route.match(asked("/user/ada/api/x")) == {"path_args": [b"x"], "path_kwargs": {}}
    assert "regex" in vars(route)
    with pytest.raises(AttributeError, match="unknown"):
        route.unknown  # noqa: B018


def test_a_route_knows_its_address() -> None:
    assert Route("/user/ada/(.*)").reverse("x") == "/user/ada/x"


def test_a_pattern_that_is_compiled_stays_as_it_is() -> None:
    compiled = re.compile("/a(b)")
    assert Route(compiled).regex is compiled


def test_the_tornado_that_was_read_is_the_one_that_is_installed() -> None:
    assert tornado.version == deferred.TORNADO


def test_handlers_of_an_application_are_such_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado.routing.PathMatches", Route)
    application = web.Application([(r"/user/ada/api", web.RequestHandler)])
    assert [type(rule.matcher) for rule in application.wildcard_router.rules] == [Route]
