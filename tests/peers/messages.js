// Random messages for echo.js and echo.html: 0 B to 1 MiB, log-uniform, text and binary, some in frames cut
// anywhere. The same seed gives the same messages, so that who compares needs no copy of what was sent.
"use strict";

const LARGEST = 1 << 20, POOL = 2 * LARGEST;
const WORDS = ["to", "be", "or", "not ", "é", "€", "😀", "\n", "0123456789", "market", "{\"price\":", "},"];

function mulberry32(seed) {
    return () => {
        seed = (seed + 0x6D2B79F5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
    };
}

// Half of it can be compressed, half cannot.
function binaryPool(random) {
    const pool = new Uint8Array(POOL);
    for (let at = 0; at < POOL;) {
        const end = Math.min(POOL, at + 1 + random() * 256), noise = random() < 0.5, byte = random() * 256;
        for (; at < end; at++) pool[at] = noise ? random() * 256 : byte;
    }
    return pool;
}

function textPool(random) {
    const words = [];
    for (let at = 0; at < POOL / 2; at++) words.push(WORDS[Math.floor(random() * WORDS.length)]);
    return new TextEncoder().encode(words.join("")).subarray(0, POOL);
}

const pools = { binary: binaryPool(mulberry32(1)), text: textPool(mulberry32(2)) };

const inCharacter = (pool, at) => (pool[at] & 0xC0) === 0x80;

class Messages {
    constructor(seed) {
        this.random = mulberry32(seed);
    }

    // {text, bytes, frames}
    next() {
        const text = this.random() < 0.5, pool = text ? pools.text : pools.binary;
        const size = Math.floor(Math.exp(this.random() * Math.log(LARGEST + 2))) - 1;
        let from = Math.floor(this.random() * (POOL - LARGEST - 4)), to = from + size;
        while (text && inCharacter(pool, from)) from++;
        while (text && to > from && inCharacter(pool, to)) to--;
        const frames = this.random() < 0.7 ? 1 : 2 + Math.floor(this.random() * 6);
        return { text, bytes: pool.subarray(from, Math.max(from, to)), frames };
    }
}

if (typeof module !== "undefined") module.exports = { Messages };
