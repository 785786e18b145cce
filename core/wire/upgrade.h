/* The opening handshake of RFC 6455 section 4, both sides, on heads that http1 has parsed. */
#pragma once

#include "wire/http1.h"
#include "base/buf.h"

enum { UPGRADE_KEY_SIZE = 24, UPGRADE_ACCEPT_SIZE = 28, UPGRADE_SUBPROTOCOLS_MAX = 32 };

/* Server. 0 when the request is a valid upgrade (GET, Host, no body nor Expect, Upgrade, Connection, version
 * 13, a key of 16 bytes in base64), else the ERR_HTTP_* that says what is not. */
int upgrade_check_request(const struct http1_head *request);
/* Server. 0 with the first of the request's subprotocols that is in `ours`, a comma-separated list, into
 * which the answer points; at == NULL where there is none. ERR_HTTP_EXTENSION when the request's are not
 * tokens, not distinct, or more than UPGRADE_SUBPROTOCOLS_MAX. */
int upgrade_subprotocol(const struct http1_head *request, const char *ours, struct slice *ret_chosen);
/* Appends the 101 answer to a request that passed upgrade_check_request. subprotocol: at == NULL for none;
 * extra: header lines, each with its line end, or empty. */
void upgrade_accept(const struct http1_head *request, struct slice subprotocol, struct slice extra,
                    struct buf *out);
/* Appends an answer of err's HTTP status with its text as a short body and Connection: close; 401 carries
 * WWW-Authenticate: Bearer, 405 Allow: GET, 426 Sec-WebSocket-Version: 13, and 429 and 503 carry Retry-After
 * when retry_after_s > 0. Nothing of the request is in it. */
void upgrade_refuse(int err, unsigned retry_after_s, struct buf *out);

/* What a client asks for. */
struct upgrade_ask {
    const char *host, *target, *key;
    const char *origin, *token; /* NULL or "" for none */
    const char *subprotocols;   /* comma-separated, the best first; NULL or "" for none */
    struct slice extra;         /* header lines, each with its line end, or empty */
};

/* Client. Makes a key from 16 random bytes of the caller's, NUL-terminated. */
void upgrade_make_key(const uint8_t random[16], char ret_key[UPGRADE_KEY_SIZE + 1]);
void upgrade_request(const struct upgrade_ask *ask, struct buf *out);
/* 0 when the response is the 101 that answers `key`, else ERR_HTTP_STATUS (any other status),
 * ERR_HTTP_NOT_UPGRADE, ERR_HTTP_ACCEPT, or ERR_PROTOCOL for a body, a subprotocol that is not in
 * `subprotocols` (what was offered; NULL or "" for none) or more than one, and for extensions unless they
 * were offered: what was agreed to is then for the caller to check. */
int upgrade_check_response(const struct http1_head *response, const char *key, const char *subprotocols,
                           bool extensions_offered);

/* Whether a list of subprotocols is one that can be sent: tokens, distinct, not too many, or empty. */
bool upgrade_subprotocols_valid(const char *list);
