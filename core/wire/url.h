/* ws:// or wss://host[:port][/path][?query], host a name or an address, [v6] in brackets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { URL_HOST_MAX = 256, URL_TARGET_MAX = 1024 };

struct url {
    bool secure;             /* wss */
    char host[URL_HOST_MAX]; /* without brackets */
    uint16_t port;           /* where none is given 80, or 443 when secure */
    char target[URL_TARGET_MAX];
};

/* 0 or ERR_OPTION_VALUE. */
int url_parse(const char *text, struct url *ret_url);
