/* What the hub knows of a subscriber: how to hand it a burst. WebSocket, SSE, HTTP/2 and Redis each embed one
 * of these. */
#pragma once

#include <stdint.h>

struct burst;
struct topic;

struct member {
    void (*deliver)(struct member *, struct burst *);
    struct topic *topic; /* NULL while in none */
    uint32_t slot;       /* its place in the topic's array */
};
