/* The shared secret a client shows. */
#pragma once

#include "wire/http1.h"

/* Whether the request shows `wanted`, as "Authorization: Bearer TOKEN" or as ?token=TOKEN (with %XX decoded;
 * '+' is itself). The time taken tells nothing about `wanted`, its length neither. An empty one is shown by
 * any request. */
bool token_matches(const char *wanted, const struct http1_head *request, struct slice query);
