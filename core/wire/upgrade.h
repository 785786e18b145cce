/* The opening handshake of RFC 6455 section 4, both sides, on heads that http1 has parsed. */
#pragma once

#include "wire/http1.h"
#include "base/buf.h"

enum { UPGRADE_KEY_SIZE = 24, UPGRADE_ACCEPT_SIZE = 28 };

/* Server. 0 when the request is a valid upgrade (GET, Host, no body, Upgrade, Connection, version 13, a key
 * of 16 bytes in base64), else the ERR_HTTP_* that says what is not. */
int upgrade_check_request(const struct http1_head *request);
/* Appends the 101 answer to a request that passed upgrade_check_request. */
void upgrade_accept(const struct http1_head *request, struct buf *out);
/* Appends an answer of err's HTTP status with its text as a short body and Connection: close; 426 carries
 * Sec-WebSocket-Version: 13, 405 carries Allow: GET, 503 carries Retry-After when retry_after_s > 0. */
void upgrade_refuse(int err, unsigned retry_after_s, struct buf *out);

/* Client. Makes a key from 16 random bytes of the caller's, NUL-terminated. */
void upgrade_make_key(const uint8_t random[16], char ret_key[UPGRADE_KEY_SIZE + 1]);
/* Appends the request. origin may be NULL. */
void upgrade_request(const char *host, const char *target, const char *origin, const char *key,
                     struct buf *out);
/* 0 when the response is the 101 that answers `key`, else ERR_HTTP_STATUS (any other status),
 * ERR_HTTP_NOT_UPGRADE, ERR_HTTP_ACCEPT, or ERR_PROTOCOL for an extension or subprotocol, since none is ever
 * asked for. */
int upgrade_check_response(const struct http1_head *response, const char *key);
