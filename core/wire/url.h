/* ws://host[:port][/path][?query], host a name or an address, [v6] in brackets. */
#pragma once

#include <stdint.h>

enum { URL_HOST_MAX = 256, URL_TARGET_MAX = 1024 };

struct url {
    char host[URL_HOST_MAX]; /* without brackets */
    uint16_t port;           /* 80 where none is given */
    char target[URL_TARGET_MAX];
};

/* 0 or ERR_OPTION_VALUE. */
int url_parse(const char *text, struct url *ret_url);
