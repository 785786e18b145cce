// npm ws as either end of an echo:
//     node echo.js URL --messages N [--deflate]     compares N echoes and closes with 1000
//     node echo.js serve [--deflate] [--pem FILE]   prints its URL; says of each connection how it ended
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { parseArgs } = require("node:util");
const WebSocket = require("ws");
const { Messages } = require("./messages.js");

const WINDOW = 8; // messages under way
const { values: flags, positionals: [target] } = parseArgs({
    allowPositionals: true,
    options: { messages: { type: "string" }, deflate: { type: "boolean" }, pem: { type: "string" } },
});
const fast = { threshold: 0, zlibDeflateOptions: { level: 1 } };
const options = { perMessageDeflate: flags.deflate ? fast : false, maxPayload: 2 << 20 };
const agreed = (ws) => ws.extensions || "plain";

function send(ws, { text, bytes, frames }) {
    for (let i = 0; i < frames; i++) {
        const part = bytes.subarray(bytes.length * i / frames, bytes.length * (i + 1) / frames);
        ws.send(part, { binary: !text, fin: i === frames - 1 });
    }
}

function compare(url, total) {
    const ws = new WebSocket(url, { ...options, rejectUnauthorized: false });
    const sent = new Messages(3), expected = new Messages(3);
    let heard = 0, bytes = 0;
    ws.on("open", () => { for (let i = 0; i < Math.min(WINDOW, total); i++) send(ws, sent.next()); });
    ws.on("message", (data, binary) => {
        const want = expected.next();
        assert(want.text === !binary && data.equals(want.bytes), `message ${heard} differs`);
        heard++;
        bytes += data.length;
        if (heard + WINDOW <= total) send(ws, sent.next());
        if (heard === total) ws.close(1000);
    });
    ws.on("close", (code) => {
        console.log(`${heard} messages, ${bytes} bytes, ${agreed(ws)}, closed with ${code}`);
    });
}

function serve() {
    const pem = flags.pem && fs.readFileSync(flags.pem);
    const server = pem ? https.createServer({ cert: pem, key: pem }) : http.createServer();
    const wss = new WebSocket.Server({ ...options, server });
    wss.on("connection", (ws) => {
        ws.on("message", (data, binary) => ws.send(data, { binary }));
        ws.on("close", (code) => console.log(`${agreed(ws)}, closed with ${code}`));
    });
    server.listen(0, "127.0.0.1", () => {
        console.log(`serving ${pem ? "wss" : "ws"}://127.0.0.1:${server.address().port}/`);
    });
}

if (target === "serve") serve();
else compare(target, Number(flags.messages));
