# python3-websockets: websockets_feed.py PORT RATE SIZE [tls=PEM] [deflate]
import asyncio
import signal
import ssl
import sys
import time

import websockets

BURST = 64  # messages in a row; who wants to come in waits meanwhile


class Feed:
    def __init__(self, rate, size):
        self.rate, self.size = rate, size
        self.clients = set()
        self.begun = asyncio.Event()

    async def serve(self, client, *_):
        self.clients.add(client)
        try:
            await client.wait_closed()
        finally:
            self.clients.discard(client)

    def message(self, sequence, due):
        stamp = f"wsb1 {0:08x} {sequence:016x} {due:016x} "
        return stamp.ljust(self.size, chr(97 + sequence % 26))

    def step(self):
        if self.begun.is_set():
            self.rate *= 1.2
        self.begun.set()

    async def publish(self):
        await self.begun.wait()
        due, sequence = time.monotonic_ns(), 0
        while True:
            for _ in range(BURST):
                if due > time.monotonic_ns():
                    break
                websockets.broadcast(self.clients, self.message(sequence, due))
                sequence += 1
                due += round(1e9 / self.rate)
            await asyncio.sleep(max(0, (due - time.monotonic_ns()) / 1e9))


async def main(port, rate, size, *rest):
    feed = Feed(float(rate), int(size))
    pem = next((word[len("tls="):] for word in rest if word.startswith("tls=")), None)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if pem else None
    if tls:
        tls.load_cert_chain(pem)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, feed.step)
    server = await websockets.serve(
        feed.serve, "127.0.0.1", int(port), ssl=tls, backlog=4096, ping_interval=None,
        compression="deflate" if "deflate" in rest else None)
    at = server.sockets[0].getsockname()[1]
    print(f"serving {'wss' if tls else 'ws'}://127.0.0.1:{at}/feed", flush=True)
    await feed.publish()


asyncio.run(main(*sys.argv[1:]))
