/* What a server says about coming back, where a client that was refused or closed can read it. */
#pragma once

#include "wire/http1.h"
#include "wire/message.h"

#include <stdint.h>

/* Longer ones are cut to a day. */
#define HINT_MAX_NS (24 * 3600ULL * 1000000000)

/* Retry-After of an HTTP answer, in whole seconds; 0 without one, for 0, and for a date. */
uint64_t hint_retry_after_ns(const struct http1_head *response);
/* The window of a Close with 1012 or 1013 whose reason begins
 *
 *     {"wsb":"reconnect","window_ms":15000}
 *
 * within which the clients should come back, each at a time of its own; 0 when there is none. */
uint64_t hint_window_ns(const struct message *close);
