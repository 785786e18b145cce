/* host[:port], as in a Host header or an origin (RFC 3986 section 3.2, without user information). */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>

enum { AUTHORITY_NO_PORT = -1 };

/* False, and nothing is touched, where it is malformed: the host (a name, an address, or an IPv6 address in
 * brackets, which stay) must not be empty, a port is 1 to 5 digits up to 65535. The host points into text. */
bool authority_split(struct slice text, struct slice *ret_host, int *ret_port);
