// A subscriber on npm ws: node peer.js URL. What it does is told in tests/e2e/300_peers.lua.
"use strict";
const assert = require("node:assert");
const WebSocket = require("ws");

const WANTED = 20, SIZE = 1024;
const ws = new WebSocket(process.argv[2]);
let first, seen = 0;

function feed(text) {
    const number = parseInt(text.split(" ")[2], 16);
    first = first ?? number;
    assert.strictEqual(text.length, SIZE, "size");
    assert.strictEqual(number, first + seen, "order");
    if (++seen === WANTED) ws.send(`hello from node: ${WANTED} in order`);
}

ws.on("message", (data, binary) => {
    const text = data.toString();
    assert(!binary, "binary");
    if (text.startsWith("wsb1 ")) return feed(text);
    if (text !== "hello to node") return;
    ws.send("thanks from node: é€😀");
    ws.close(1000);
});
ws.on("close", (code) => {
    console.log("closed with", code);
    process.exit(0);
});
setTimeout(() => process.exit(1), 20000).unref();
