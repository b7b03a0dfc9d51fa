"""
The HTTP side: one request in, one answer out, errors as Status objects.

``server`` listens and gives each request to :meth:`Handlers.answer`, which
finds out who asks (``tokens``), what for (``calls``), whether they may
(``rbac``) and has it done. The only module that knows aiohttp's requests.
"""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import yaml
from aiohttp import web

from tests.fakes.kubernetes.apiserver import (
    control,
    deletion,
    discovery,
    logs,
    openapi,
    operations,
    protobuf,
    reviews,
    subresources,
    tables,
    watch,
)
from tests.fakes.kubernetes.apiserver.calls import Call, User, parse_call
from tests.fakes.kubernetes.apiserver.errors import ApiError, bad_request
from tests.fakes.kubernetes.apiserver.faults import Faults
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.rbac import Access, access_of, authorize
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.store import encoded

log = logging.getLogger(__name__)

JSON_TYPES = ("application/json", "*/*", "application/*")
PATCHES = {
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
}


class Handlers:
    """Answers requests from the cluster's state, with the faults that a test asks for."""

    def __init__(
        self, state: State, faults: Faults, address: str, leave: Callable[[float], None]
    ) -> None:
        self.state = state
        self.faults = faults
        self.address = address
        self.leave = leave
        self._serving: set[asyncio.Task[object]] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; what goes wrong becomes a Status object."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            return await self._answer(request)
        except ApiError as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return as_json(error.status, error.code, headers)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return as_json(ApiError(500, f"the test double failed: {error!r}").status, 500)
        finally:
            self._serving.discard(task)

    def cut(self) -> None:
        """Cut all connections that are being served."""
        for task in list(self._serving):
            task.cancel()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        user = self.state.tokens.user(authorization, self.state.store)
        accept = request.headers.get("Accept") or "*/*"
        if (document := self._document(request.path, accept)) is not None:
            self._authorize(user, Access("get", path=request.path))
            return document
        if request.path.startswith("/-/"):
            return await self._control(request, user)
        call = parse_call(
            self.state.resources,
            request.method,
            request.path,
            dict(request.query),
            user,
            request.headers.get("User-Agent", ""),
        )
        self._authorize(user, access_of(call))
        await self.faults.meet(call)
        if not any(kind.split(";")[0].strip() in JSON_TYPES for kind in accept.split(",")):
            raise ApiError(406, f"only JSON is served here, not {accept}", reason="NotAcceptable")
        is_table = tables.ACCEPT in accept
        if call.verb == "watch":
            return await self._watch(request, call, is_table=is_table)
        if call.subresource == "log":
            return await self._log(request, call)
        body = await read_body(request)
        code, result = self._done(call, body, content_type(request))
        if is_table and call.verb in ("get", "list") and not call.subresource:
            result = tables.as_table(
                call.resource.kind, result, call.query.get("includeObject", "")
            )
        self.state.warnings.extend(call.warnings)
        headers = [("Warning", f"299 - {json.dumps(text)}") for text in call.warnings]
        return as_json(result, code, headers)

    async def _control(self, request: web.Request, user: User) -> web.Response:
        self._authorize(user, Access(request.method.lower(), path=request.path))
        asked = (request.method, request.path)
        body = await read_body(request)
        return web.json_response(control.answer(self.state, self.faults, self.leave, asked, body))

    def _authorize(self, user: User, access: Access) -> None:
        try:
            authorize(self.state.store, user, access)
        except ApiError:
            self.state.denials.append({"user": user.name, **asdict(access)})
            raise

    def _document(self, path: str, accept: str) -> web.Response | None:
        """Return what says what is served here, if that is what a path asks for."""
        resources = self.state.resources
        steps = path.strip("/").split("/")
        found: Json | None
        if path.rstrip("/") in ("/api", "/apis") and "as=APIGroupDiscoveryList" in accept:
            found = discovery.aggregated(resources, core=steps == ["api"])
            return as_json(found, 200, {"Content-Type": discovery.AGGREGATED})
        match steps:
            case ["version"]:
                return as_json(discovery.VERSION)
            case ["livez" | "readyz" | "healthz"]:
                return web.Response(text="ok")
            case ["api"]:
                return as_json(discovery.api_versions(self.address))
            case ["apis"]:
                return as_json(discovery.group_list(resources))
            case ["openapi", "v2"]:
                return web.Response(body=openapi.V2, content_type=openapi.V2_TYPE)
            case ["openapi", "v3"]:
                return as_json(openapi.index(resources))
            case ["openapi", "v3", *root]:
                found = openapi.document(resources, "/".join(root))
            case ["apis", name] if name in (groups := discovery.groups(resources)):
                document = discovery.group(name, groups[name])
                found = {"kind": "APIGroup", "apiVersion": "v1", **document}
            case ["api", version]:
                found = discovery.resource_list(resources, version)
            case ["apis", name, version]:
                found = discovery.resource_list(resources, f"{name}/{version}")
            case _:
                return None
        return as_json(found) if found else None

    def _done(self, call: Call, body: Any, kind: str) -> tuple[int, Json]:
        if call.resource.verbs == ("create",):
            return 201, reviews.answer(self.state, call, body)
        if call.subresource not in ("", "status"):
            return subresources.answer(self.state, call, kind, body)
        match call.verb:
            case "get":
                return 200, operations.get(self.state, call)
            case "list":
                return 200, operations.page(self.state, call)
            case "create":
                return 201, operations.create(self.state, call, body)
            case "update":
                return 200, operations.update(self.state, call, body)
            case "patch":
                return 200, operations.patch(self.state, call, kind, body)
        options = deletion.parse_options(call.query, body)
        if call.verb == "delete":
            return 200, deletion.delete(self.state, call, options)
        return 200, deletion.delete_collection(self.state, call, options)

    async def _watch(
        self, request: web.Request, call: Call, *, is_table: bool
    ) -> web.StreamResponse:
        watch.check_watch(self.state, call)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with self.faults.watch():
            show = functools.partial(tables.as_row, call.resource.kind) if is_table else encoded
            async with contextlib.aclosing(watch.lines(self.state, call, show)) as lines:
                async for line in lines:
                    if line:
                        await response.write(line)
        return response

    async def _log(self, request: web.Request, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        async with contextlib.aclosing(logs.read(self.state, call)) as chunks:
            first = await anext(chunks, b"")
            await response.prepare(request)
            await response.write(first)
            async for chunk in chunks:
                await response.write(chunk)
        return response


def as_json(value: Any, code: int = 200, headers: Any = None) -> web.Response:
    """Return an answer of JSON; ``headers`` may name another type of it."""
    response = web.Response(body=encoded(value), status=code, content_type="application/json")
    for name, text in headers.items() if isinstance(headers, dict) else headers or ():
        if name == "Content-Type":
            response.headers[name] = text
        else:
            response.headers.add(name, text)
    return response


def content_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "application/json").split(";")[0].strip()


async def read_body(request: web.Request) -> Any:
    """Read JSON or YAML; raises 400 if it is neither, 415 for another format."""
    raw = await request.read()
    if not raw:
        return None
    kind = content_type(request)
    if kind == protobuf.CONTENT_TYPE:
        return protobuf.decode(raw)
    try:
        if kind == "application/json" or kind in PATCHES - {"application/apply-patch+yaml"}:
            return json.loads(raw)
        if kind in ("application/apply-patch+yaml", "application/yaml"):
            return json.loads(raw) if raw.lstrip()[:1] == b"{" else yaml.safe_load(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the body cannot be read as {kind}: {error}") from error
    raise ApiError(415, f"the body of the request was in an unknown format - {kind}")
