"""
The least that a gateway can do, for comparison: bytes there and back, over pooled connections.

As a program it prints its address, and passes on to the address that it is given.
"""

import asyncio
import sys

import aiohttp
from aiohttp import web

_UPSTREAM = web.AppKey("upstream", aiohttp.ClientSession)


async def _pass_on(request: web.Request) -> web.StreamResponse:
    headers = {"Content-Type": "application/json"}
    client = request.app[_UPSTREAM]
    async with client.post(
        f"{sys.argv[1]}/chat/completions", data=await request.read(), headers=headers
    ) as answer:
        response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def _main() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _pass_on)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as client:
        app[_UPSTREAM] = client
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
