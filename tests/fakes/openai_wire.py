"""
The scripted provider's bytes: SSE, JSON, errors, and connections that break.

Called by ``openai_server`` alone.
"""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Mapping

from aiohttp import web

from tests.fakes.openai_replies import STATUSES, Fault, Json, Raw, Reply, make_stream


class BrokenOffError(Exception):
    """The server itself closed the connection, as its script says."""


def error_answer(
    status: int,
    kind: str,
    message: str,
    code: str | None = None,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def status_answer(fault: Fault, key: str) -> web.Response:
    assert isinstance(fault.kind, int)
    kind, code, message = STATUSES[fault.kind]
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    # What OpenAI answers with; a gateway is expected to keep these to itself.
    headers |= {"openai-organization": "scripted-org", "Set-Cookie": "_cfuvid=scripted"}
    text = (fault.message or message).replace("{key}", key)
    return error_answer(fault.kind, kind, text, code, headers=headers)


def reset(http: web.Request) -> None:
    """Send a TCP RST instead of an orderly end."""
    transport = http.transport
    assert transport is not None
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _break_off(http: web.Request, fault: Fault) -> None:
    """End or stall an answer whose headers are sent."""
    if fault.kind in ("stall_mid_stream", "stall_before_body"):
        await asyncio.sleep(fault.seconds)
    if fault.kind in ("reset_mid_stream", "reset_before_body"):
        await asyncio.sleep(0.05)  # or the reset would overtake what was sent
        reset(http)
    elif http.transport:
        http.transport.close()
    raise BrokenOffError


async def answer_stream(http: web.Request, reply: Reply, chunks: list[Json]) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "openai-organization": "scripted-org",
            "x-request-id": "req_scripted",
        }
    )
    response.headers.add("Set-Cookie", "_cfuvid=scripted")
    await response.prepare(http)
    delay = make_stream(reply, 0).delay if not isinstance(reply, Raw) else reply.delay
    if isinstance(reply, Fault) and str(reply.kind).endswith("_before_body"):
        await _break_off(http, reply)
    begun = time.monotonic()
    for number, chunk in enumerate(chunks):
        # By the clock, not by adding up sleeps: 200 a second stay 200 a second.
        pause = begun + number * delay - time.monotonic()
        if delay and pause > 0:
            await asyncio.sleep(pause)
        await _write_event(response, chunk, split=_is(reply, "split_utf8"))
    if _is(reply, "garbage_sse"):
        await response.write(b"data: {not json\n\n<html>502</html>\n\n")
    elif _is(reply, "error_mid_stream"):
        error = {"message": "The engine broke.", "type": "server_error", "code": None}
        await _write_event(response, {"error": error})
    elif isinstance(reply, Fault) and str(reply.kind).endswith("_mid_stream"):
        await _break_off(http, reply)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _write_event(response: web.StreamResponse, chunk: Json, *, split: bool = False) -> None:
    event = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()
    middle = next((place for place, byte in enumerate(event) if byte > 0x7F), 0) + 1
    if split and middle > 1:
        await response.write(event[:middle])
        await asyncio.sleep(0.02)  # a packet of its own
        event = event[middle:]
    await response.write(event)


async def answer_whole(http: web.Request, reply: Reply, chunks: list[Json]) -> web.StreamResponse:
    if _is(reply, "garbage_sse"):
        return web.Response(text="<html>502</html>", content_type="application/json")
    whole = json.dumps(_fold(chunks), ensure_ascii=False).encode()
    if not (isinstance(reply, Fault) and str(reply.kind).endswith(("_mid_stream", "_body"))):
        return web.Response(body=whole, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(whole)
    await response.prepare(http)
    if str(reply.kind).endswith("_mid_stream"):
        await response.write(whole[:-10])
    await _break_off(http, reply)
    return response


def _fold(chunks: list[Json]) -> Json:
    """Make the ``chat.completion`` that the chunks spell."""
    message: Json | None = {"role": "assistant", "content": None, "refusal": None}
    finish, calls, any_choice = None, list[Json](), False
    for choice in (choice for chunk in chunks for choice in chunk.get("choices", [])):
        any_choice = True
        finish = choice.get("finish_reason") or finish
        delta = choice.get("delta")
        if delta is None:
            message = None
            continue
        if message is not None and delta.get("content"):
            message["content"] = (message["content"] or "") + delta["content"]
        for piece in delta.get("tool_calls", []):
            if "function" in piece and "name" in piece["function"]:
                begun = {key: value for key, value in piece.items() if key != "index"}
                calls.append({**begun, "function": dict(piece["function"])})
            else:
                calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    if message is not None and calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    usage = next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None)
    folded = {**chunks[0], "object": "chat.completion", "choices": [choice] if any_choice else []}
    return folded | {"usage": usage}


def _is(reply: Reply, kind: str) -> bool:
    return isinstance(reply, Fault) and reply.kind == kind
