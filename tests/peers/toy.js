// A small broadcast server on npm ws, of which nobody has thought hard: [PORT=...] node toy.js [MAX_PAYLOAD [ORIGIN]].
"use strict";
const WebSocket = require("ws");

const [maxPayload, origin] = process.argv.slice(2);
const server = new WebSocket.Server({
    host: "127.0.0.1", port: Number(process.env.PORT || 0), perMessageDeflate: true,
    maxPayload: maxPayload ? Number(maxPayload) : 0,
    verifyClient: (client, done) => done(!origin || client.origin === origin, 403),
});
server.on("connection", (client) => {
    client.on("error", () => {});
    client.on("message", (data, binary) => {
        for (const other of server.clients)
            if (other !== client) other.send(data, { binary });
    });
});
server.on("listening", () => console.log(`wsb: serving ws://127.0.0.1:${server.address().port}/feed`));
