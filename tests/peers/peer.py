# A subscriber on python3-websockets: peer.py URL. What it does is told in tests/e2e/300_peers.lua.
import asyncio
import sys

import websockets

WANTED, SIZE = 20, 1024


def sequence(text):
    return int(text.split()[2], 16)


async def feed(ws):
    seen = [await ws.recv() for _ in range(WANTED)]
    numbers = [sequence(text) for text in seen]
    assert all(len(text) == SIZE for text in seen), "size"
    assert numbers == list(range(numbers[0], numbers[0] + WANTED)), "order"


async def reply(ws):
    while True:
        text = await ws.recv()
        if text == "hello to python":
            return


async def main(url):
    async with websockets.connect(url) as ws:
        await feed(ws)
        await ws.send(f"hello from python: {WANTED} in order")
        await reply(ws)
        await ws.send("thanks from python: é€😀")
    print("closed with", ws.close_code)


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 20))
