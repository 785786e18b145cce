// nginx with nchan: nchan.js ROOT PORT RATE SIZE [tls=PEM]. ROOT holds the unpacked packages. nginx has one
// worker and no publisher of its own, so this process is one, over HTTP, and only nginx is measured.
"use strict";
const { spawn } = require("child_process");
const fs = require("fs");
const http = require("http");
const net = require("net");
const os = require("os");
const path = require("path");
const feed = require("./feed.js");

const root = process.argv[2];
const how = feed.read(process.argv.slice(3));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "wsb-bench-nchan-"));

function configuration(port, publishPort) {
    const tls = how.tls && fs.realpathSync(how.tls);
    return `
load_module ${fs.realpathSync(root)}/usr/lib/nginx/modules/ngx_nchan_module.so;
${process.getuid() === 0 ? "user root;" : ""}
daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr error; worker_rlimit_nofile 16384;
events { worker_connections 16000; }
http {
    access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f;
    uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
    nchan_max_reserved_memory 256M;
    server {
        listen 127.0.0.1:${port} backlog=4096${tls ? " ssl" : ""};
        ${tls ? `ssl_certificate ${tls}; ssl_certificate_key ${tls}; ssl_session_cache shared:S:10m;
        ssl_protocols TLSv1.2 TLSv1.3;` : ""}
        location /feed { nchan_subscriber websocket; nchan_channel_id feed; nchan_message_buffer_length 0; }
    }
    server {
        listen 127.0.0.1:${publishPort}; keepalive_requests 1000000;
        location /publish { nchan_publisher http; nchan_channel_id feed; nchan_message_buffer_length 0; }
    }
}`;
}

function freePort() {
    return new Promise((done) => {
        const probe = net.createServer().listen(0, "127.0.0.1", () => {
            const { port } = probe.address();
            probe.close(() => done(port));
        });
    });
}

function accepting(port) {
    return new Promise((done) => {
        const attempt = () => net.connect(port, "127.0.0.1").on("error", () => setTimeout(attempt, 20))
            .on("connect", function () { this.destroy(); done(); });
        attempt();
    });
}

function publisher(port) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
    const target = { agent, port, host: "127.0.0.1", path: "/publish", method: "POST" };
    return (text) => http.request(target, (answer) => answer.resume()).on("error", () => {}).end(text);
}

async function main() {
    const [port, publishPort] = [how.port || await freePort(), await freePort()];
    fs.writeFileSync(`${dir}/nginx.conf`, configuration(port, publishPort));
    const words = ["-p", dir, "-c", `${dir}/nginx.conf`];
    const nginx = spawn(`${root}/usr/sbin/nginx`, words, { stdio: "inherit" });
    nginx.on("exit", (code) => process.exit(code || 1));
    process.on("exit", () => fs.rmSync(dir, { recursive: true, force: true }));
    for (const end of ["SIGTERM", "SIGINT"]) process.on(end, () => nginx.kill());
    await accepting(publishPort);
    console.log(`serving ${how.tls ? "wss" : "ws"}://127.0.0.1:${port}/feed ${nginx.pid}`);
    feed.start(how, process.hrtime.bigint, publisher(publishPort));
}
main();
