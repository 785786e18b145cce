/* Which of a Redis cluster's 16384 slots a key belongs to, and what a node says about slots. */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>

enum { REDIS_SLOTS = 16384 };

/* CRC16 (XMODEM). */
uint16_t redis_crc16(struct slice bytes);
/* Of the {tag} in the key when there is one that is not empty, else of the whole key. */
uint16_t redis_slot(struct slice key);

struct redis_redirect {
    bool ask; /* -ASK: only this once; else -MOVED: from now on */
    uint16_t slot;
    struct slice host; /* empty: that of the node which says so; without brackets */
    uint16_t port;
};

/* Whether an error reply's text is "MOVED slot host:port" or "ASK slot host:port"; host points into it. */
bool redis_redirect_parse(struct slice error, struct redis_redirect *ret_redirect);
