/* HTTP/1.1 message heads (RFC 9112), strictly: no bare CR or LF, no folding, no space before a colon, no
 * control characters, no line before the first. In a request these stand at most once: Host, Content-Length,
 * Transfer-Encoding, Upgrade, Origin, Authorization, Sec-WebSocket-Key, -Version; in a response:
 * Content-Length, Transfer-Encoding, Sec-WebSocket-Accept. A Content-Length is digits and not together with
 * a Transfer-Encoding; a Host, where there is one, is host[:port].
 */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>

enum { HTTP1_HEADERS_MAX = 128 };

struct http1_limits {
    size_t bytes;   /* of the whole head */
    size_t headers; /* lines; HTTP1_HEADERS_MAX where it is more */
};

/* How far a head that comes in parts has been read, in offsets, so the bytes may move. Zero at the start. */
struct http1_scan {
    size_t line;    /* where the first line begins that has not come whole */
    size_t lines;   /* whole ones before it */
    size_t checked; /* bytes parsed */
    size_t seen;    /* bytes searched for the end of a line */
};

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
 * limits: ERR_HTTP_HEAD_SIZE, met also by a head that is not complete yet.
 * scan: kept by the caller from one call on the same, growing head to the next, which makes the cost of all
 * calls linear in the bytes; the error in a line is then told at its end at the latest, without one (NULL) or
 * in the first call as soon as it is there. */
int http1_request(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                  struct http1_head *ret_head);
int http1_response(const char *at, size_t size, const struct http1_limits *limits, struct http1_scan *scan,
                   struct http1_head *ret_head);

/* The value of the header of that name (any case), or a slice with at == NULL. */
struct slice http1_value(const struct http1_head *head, const char *name);
/* Whether the comma-separated lists in all headers of that name hold `token`, without case. */
int http1_has_token(const struct http1_head *head, const char *name, const char *token);

/* Takes the next element, without the white space around it, off a comma-separated list; false behind the
 * last one. Elements may be empty: "a," has two, "" has one. */
bool http1_next(struct slice *list, struct slice *ret_element);
bool http1_is_token(struct slice text);

/* Splits a target at '?'. The query is empty where there is none. */
void http1_split_target(struct slice target, struct slice *ret_path, struct slice *ret_query);
/* The raw value of `name` in a query string ("a=1&b=2"), or a slice with at == NULL. */
struct slice http1_query_value(struct slice query, const char *name);
