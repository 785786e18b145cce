// Bun's own server, uWebSockets inside: bun.js PORT RATE SIZE [tls=PEM] [deflate]
"use strict";
const { dlopen, ptr } = require("bun:ffi");
const fs = require("fs");
const feed = require("./feed.js");

const CLOCK_MONOTONIC = 1;

// Bun's hrtime counts from its own start.
function clockOffset() {
    const libc = dlopen("libc.so.6", { clock_gettime: { args: ["i32", "ptr"], returns: "i32" } });
    const at = new BigInt64Array(2);
    libc.symbols.clock_gettime(CLOCK_MONOTONIC, ptr(at));
    return at[0] * 1000000000n + at[1] - process.hrtime.bigint();
}

const how = feed.read(process.argv.slice(2));
const pem = how.tls && fs.readFileSync(how.tls);
const server = Bun.serve({
    hostname: "127.0.0.1", port: how.port, tls: pem ? { cert: pem, key: pem } : undefined,
    fetch(request, self) {
        return self.upgrade(request) ? undefined : new Response("", { status: 426 });
    },
    websocket: {
        perMessageDeflate: how.deflate, idleTimeout: 0, sendPings: false,
        open(client) { client.subscribe("feed"); },
        message() {},
    },
});
console.log(`serving ${pem ? "wss" : "ws"}://127.0.0.1:${server.port}/feed`);
const offset = clockOffset();
feed.start(how, () => process.hrtime.bigint() + offset, (text) => server.publish("feed", text));
