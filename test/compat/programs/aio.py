# SPDX-License-Identifier: Apache-2.0
"""aiohttp: a server with files, streams and websockets, and its client. aio.py THERE"""
import asyncio
import hashlib
import sys

import aiohttp
from aiohttp import web

there = sys.argv[1]


async def post(request):
    return web.Response(text=hashlib.sha256(await request.read()).hexdigest())


async def stream(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for i in range(100):
        await response.write(b"%d " % i * 100)
    await response.write_eof()
    return response


async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.data == "close":
            await ws.close()
        elif message.type == aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data[::-1])
        else:
            await ws.send_bytes(message.data)
    return ws


async def fetch(request):
    async def one(path):
        async with session.get(f"http://{there}:9000{path}") as answer:
            return f"{answer.status} {hashlib.sha256(await answer.read()).hexdigest()}"
    async with aiohttp.ClientSession() as session:
        return web.Response(text="\n".join(await asyncio.gather(*map(one, ("/bytes/1", "/bytes/2000000", "/chunked/70000",
                                                                           "/slow/20", "/status/404")))))


async def errors(request):
    found = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        for url in (f"http://{there}:9/", f"http://{there}:9000/slow/1000"):
            try:
                async with session.get(url) as answer:
                    await answer.read()
                found.append("read")
            except (aiohttp.ClientError, asyncio.TimeoutError) as e:
                found.append(f"{type(e).__name__} {getattr(e, 'errno', '')}")
    return web.Response(text="; ".join(found))


async def through_socket(request):
    """Its own websocket, as a client."""
    async with aiohttp.ClientSession() as session, session.ws_connect("http://127.0.0.1:8080/ws") as ws:
        found = []
        for size in (1, 1000, 200000):
            await ws.send_bytes(bytes(size))
            found.append(len((await ws.receive()).data))
        await ws.send_str("close")
        found.append((await ws.receive()).type.name)
        return web.Response(text=str(found))


app = web.Application(client_max_size=8 << 20)
app.add_routes([web.post("/post", post), web.get("/stream", stream), web.get("/ws", socket), web.get("/fetch", fetch),
                web.get("/errors", errors), web.get("/own", through_socket), web.static("/files", "/var/www/html")])
web.run_app(app, host=["0.0.0.0", "::1"], port=8080, print=None)
