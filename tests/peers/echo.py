# python3-websockets as either end of an echo:
#     echo.py URL --messages N [--deflate]     compares N echoes and closes with 1000
#     echo.py serve [--deflate] [--pem FILE]   prints its URL; says of each connection how it ended
import argparse
import asyncio
import math
import random
import ssl

import websockets
from websockets.extensions import permessage_deflate

WINDOW = 8  # messages under way
LARGEST = 1 << 20
POOL = 2 * LARGEST
WORDS = ["to", "be", "or", "not ", "é", "€", "😀", "\n", "0123456789", "market", '{"price":', "},"]


def binary_pool(rng):
    """Half of it can be compressed, half cannot."""
    parts = []
    for _ in range(POOL // 64):
        size = rng.randrange(1, 257)
        parts.append(rng.randbytes(size) if rng.random() < 0.5 else rng.randbytes(1) * size)
    return b"".join(parts)[:POOL]


def messages(seed, total):
    """(message, its fragments or None), 0 B to 1 MiB, log-uniform; the same for the same seed."""
    rng = random.Random(seed)
    binary, text = binary_pool(rng), "".join(rng.choices(WORDS, k=POOL // 2)).encode()[:POOL]
    for _ in range(total):
        pool = rng.choice((binary, text))
        size = int(math.exp(rng.random() * math.log(LARGEST + 2))) - 1
        at = rng.randrange(POOL - LARGEST)
        message = pool[at:at + size]
        if pool is text:
            message = message.decode("utf-8", "ignore")
        count = 1 if rng.random() < 0.7 else rng.randrange(2, 8)
        cut = [len(message) * i // count for i in range(count + 1)]
        yield message, count > 1 and [message[a:b] for a, b in zip(cut, cut[1:])]


def agreed(ws):
    return ", ".join(extension.name for extension in ws.extensions) or "plain"


async def send(ws, window, total):
    for message, fragments in messages(5, total):
        await window.acquire()
        await ws.send(fragments or message)


async def compare(url, total, options):
    if url.startswith("wss:"):
        options["ssl"] = ssl._create_unverified_context()
    size = 0
    async with websockets.connect(url, **options) as ws:
        window = asyncio.Semaphore(WINDOW)
        sender = asyncio.create_task(send(ws, window, total))
        for number, (want, _) in enumerate(messages(5, total)):
            got = await ws.recv()
            assert got == want, f"message {number} differs"
            size += len(got.encode() if isinstance(got, str) else got)
            window.release()
        await sender
    print(f"{total} messages, {size} bytes, {agreed(ws)}, closed with {ws.close_code}")


async def echo(ws):
    async for message in ws:
        await ws.send(message)
    print(f"{agreed(ws)}, closed with {ws.close_code}", flush=True)


async def serve(pem, options):
    if pem:
        options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        options["ssl"].load_cert_chain(pem)
    async with websockets.serve(echo, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"serving {'wss' if pem else 'ws'}://127.0.0.1:{port}/", flush=True)
        await asyncio.Future()


parser = argparse.ArgumentParser()
parser.add_argument("target")
parser.add_argument("--messages", type=int)
parser.add_argument("--deflate", action="store_true")
parser.add_argument("--pem")
args = parser.parse_args()
settings = {"max_size": None, "compression": None}
fast = {"compress_settings": {"level": 1}}
if args.target == "serve":
    if args.deflate:
        settings["extensions"] = [permessage_deflate.ServerPerMessageDeflateFactory(**fast)]
    asyncio.run(serve(args.pem, settings))
else:
    if args.deflate:
        offer = permessage_deflate.ClientPerMessageDeflateFactory(client_max_window_bits=True, **fast)
        settings["extensions"] = [offer]
    asyncio.run(compare(args.target, args.messages, settings))
