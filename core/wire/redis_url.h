/* Where a Redis is, and as whom to speak to it:
 *
 *     redis://[user][:password@]host[:port][/db]      rediss:// the same under TLS
 *     unix:///path/to.sock[?user=...&password=...&db=N]
 *
 * User, password and path are percent-decoded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REDIS_URL_HOST_MAX = 256,
    REDIS_URL_PATH_MAX = 108,
    REDIS_URL_SECRET_MAX = 512,
    REDIS_URL_PORT = 6379
};

struct redis_url {
    bool secure;                         /* rediss */
    char host[REDIS_URL_HOST_MAX];       /* without brackets; "" for a unix socket */
    uint16_t port;                       /* 6379 where none is given */
    char path[REDIS_URL_PATH_MAX];       /* of the unix socket, else "" */
    char user[REDIS_URL_SECRET_MAX];     /* "": the default user */
    char password[REDIS_URL_SECRET_MAX]; /* "": none, and no AUTH */
    uint32_t db;
};

/* 0, or ERR_OPTION_VALUE with the part that is wrong in `why`, which never holds the password. */
int redis_url_parse(const char *text, struct redis_url *ret_url, char *why, size_t why_size);
/* "127.0.0.1:6379", "[::1]:6379" or the socket's path, cut to size: for logs. Returns `text`. */
char *redis_url_place(const struct redis_url *url, char *text, size_t size);
