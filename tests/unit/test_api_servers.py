"""How a user's server is asked: where it is, and under which name the proxy knows it."""

import json
from collections.abc import AsyncGenerator

import httpx
import pytest
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Hub
from caesarion_hub.api.servers import MAX_LINE, Call, Servers, lines_of

HUB, PROXY = "http://hub:8081/hub/api", "http://proxy"


class Answers(httpx.AsyncBaseTransport):
    """A hub with a host name for each user, whose server starts when it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.started = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = f"{request.url}"
        self.asked.append((request.method, url, request.headers["Host"]))
        match request.method, url.removeprefix(HUB):
            case "GET", "/user":
                home = {"url": "https://ada.example.org/user/ada/", "ready": True}
                servers = {"": home} if self.started else {}
                scopes = ["access:services!service=api"]
                user = {"kind": "user", "name": "ada", "scopes": scopes, "servers": servers}
                return httpx.Response(200, json=user)
            case "POST", "/users/ada/server":
                self.started = True
                return httpx.Response(202)
            case "GET", "/users/ada/server/progress":
                return httpx.Response(200, text='data: {"progress": 100, "ready": true}\n\n')
        return httpx.Response(200, json={"token": request.headers["Authorization"]})


async def test_a_server_is_asked_by_its_own_host_name_as_soon_as_the_hub_tells_it() -> None:
    answers = Answers()
    async with httpx.AsyncClient(transport=answers) as http:
        hub = Hub(HUB, http)
        servers = Servers(hub, PROXY, http, limit=30)
        caller = await hub.caller("the-token")
        call = Call("GET", "caesarion/api/status")
        told = await servers.read(caller, caller.home(), call, 30)
    assert json.loads(told.content) == {"token": "token the-token"}
    method, url, host = answers.asked[-1]
    assert (method, url) == ("GET", f"{PROXY}/user/ada/caesarion/api/status")
    assert host == "ada.example.org"


async def test_the_hub_is_asked_once_in_a_while_whose_token_it_is() -> None:
    answers = Answers()
    async with httpx.AsyncClient(transport=answers) as http:
        hub = Hub(HUB, http)
        for _ in range(3):
            assert (await hub.caller("the-token")).name == "ada"
    assert [url for _, url, _ in answers.asked] == [f"{HUB}/user"]


async def test_lines_are_whole_however_they_come_and_one_without_an_end_is_refused() -> None:
    async def pieces(*given: bytes) -> AsyncGenerator[bytes, None]:
        for piece in given:
            yield piece

    found = [line async for line in lines_of(pieces(b"a", b"b\nc", b"", b"\n\nd", b"e\nrest"))]
    assert found == [b"ab", b"c", b"", b"de"]
    endless = pieces(*[b"x" * (MAX_LINE // 4)] * 10)
    with pytest.raises(ApiError, match="An output is too long"):
        [line async for line in lines_of(endless)]
    assert [piece async for piece in endless] == []  # closed
