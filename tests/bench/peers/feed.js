// The feed of the contestants in JavaScript: calls publish(text) with each stamped message that is due. The
// first SIGUSR2 begins it, each further one raises its rate by a fifth.
"use strict";

function hex(number, digits) {
    return number.toString(16).padStart(digits, "0");
}

// PORT RATE SIZE [tls=PEM] [deflate]
exports.read = (words) => {
    const [port, rate, size, ...rest] = words;
    const tls = rest.find((word) => word.startsWith("tls="));
    return {
        port: Number(port), rate: Number(rate), size: Number(size), tls: tls && tls.slice("tls=".length),
        deflate: rest.includes("deflate"),
    };
};

// now: CLOCK_MONOTONIC in nanoseconds, a BigInt.
exports.start = ({ rate, size }, now, publish) => {
    let sequence = 0n;
    let next;
    const due = () => {
        while (next <= now()) {
            const stamp = `wsb1 ${hex(0, 8)} ${hex(sequence, 16)} ${hex(next, 16)} `;
            publish(stamp.padEnd(size, String.fromCharCode(97 + Number(sequence % 26n))));
            sequence++;
            next += BigInt(Math.round(1e9 / rate));
            if (sequence % 64n === 0n) break; // who wants to come in waits meanwhile
        }
        setTimeout(due, Number(next - now()) / 1e6);
    };
    process.on("SIGUSR2", () => {
        if (next !== undefined) {
            rate *= 1.2;
            return;
        }
        next = now();
        due();
    });
};
