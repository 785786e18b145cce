/* HTTP/1.1 message heads (RFC 9112), strictly: no bare CR or LF, no folding, no space before a colon, no
 * control characters, no second Host, Content-Length, Sec-WebSocket-Key, -Accept or (in a request) -Version.
 */
#pragma once

#include "base/bytes.h"

enum { HTTP1_HEADERS_MAX = 64 };

struct http1_header {
    struct slice name, value; /* value without the white space around it */
};

/* Slices point into the bytes that were parsed and die with them. */
struct http1_head {
    struct slice method, target; /* of a request; target in origin form */
    int status;                  /* of a response, 100..599 */
    size_t header_count;
    struct http1_header header[HTTP1_HEADERS_MAX];
};

/* >0: bytes of the head, blank line included; 0: more wanted; <0: ERR_HTTP_*.
 * `limit` bounds the head in bytes (ERR_HTTP_HEAD_SIZE), met also by a head that is not complete yet. */
int http1_request(const char *at, size_t size, size_t limit, struct http1_head *ret_head);
int http1_response(const char *at, size_t size, size_t limit, struct http1_head *ret_head);

/* The value of the header of that name (any case), or a slice with at == NULL. */
struct slice http1_value(const struct http1_head *head, const char *name);
/* Whether the comma-separated lists in all headers of that name hold `token`, without case. */
int http1_has_token(const struct http1_head *head, const char *name, const char *token);

/* Splits a target at '?'. The query is empty where there is none. */
void http1_split_target(struct slice target, struct slice *ret_path, struct slice *ret_query);
/* The raw value of `name` in a query string ("a=1&b=2"), or a slice with at == NULL. */
struct slice http1_query_value(struct slice query, const char *name);
