// npm ws: ws.js PORT RATE SIZE [tls=PEM] [deflate]
"use strict";
const fs = require("fs");
const http = require("http");
const https = require("https");
const { WebSocketServer } = require("ws");
const feed = require("./feed.js");

const how = feed.read(process.argv.slice(2));
const pem = how.tls && fs.readFileSync(how.tls);
const listener = pem ? https.createServer({ cert: pem, key: pem }) : http.createServer();
const server = new WebSocketServer({ server: listener, perMessageDeflate: how.deflate });
server.on("connection", (client) => client.on("error", () => {}));
listener.listen(how.port, "127.0.0.1", 4096, () => {
    console.log(`serving ${pem ? "wss" : "ws"}://127.0.0.1:${listener.address().port}/feed`);
    feed.start(how, process.hrtime.bigint, (text) => {
        for (const client of server.clients) client.send(text);
    });
});
