/* What options have to be beside their types. */
#include "role/config.h"
#include "net/sock.h"
#include "wire/deflate.h"
#include "wire/http1.h"
#include "wire/message.h"
#include "wire/origin.h"
#include "wire/stamp.h"
#include "wire/upgrade.h"

#include <stdio.h>

bool config_check_server(const struct server_config *c, char *why, size_t why_size)
{
    const struct {
        const char *name;
        uint64_t value, least, most;
    } bounds[] = {
        {"port", c->port, 0, UINT16_MAX},
        {"backlog", c->backlog, 1, INT32_MAX},
        {"max_connections", c->max_connections, 1, UINT32_MAX},
        {"max_head", c->max_head, 1, INT32_MAX},
        {"max_message", c->max_message, 1, UINT32_MAX / 2},
        {"max_fragments", c->max_fragments, 0, UINT32_MAX},
        {"max_headers", c->max_headers, 1, HTTP1_HEADERS_MAX},
        {"max_per_address", c->max_per_address, 0, UINT32_MAX},
        {"max_handshakes", c->max_handshakes, 1, UINT32_MAX},
        {"auth_slots", c->auth_slots, 1, UINT32_MAX},
        {"session_size", c->session_size, 0, UINT32_MAX / 2},
        {"sessions", c->sessions, 1, UINT32_MAX},
        {"welcome_size", c->welcome_size, 0, UINT32_MAX},
        {"deflate_bits", c->deflate_bits, DEFLATE_BITS_MIN, DEFLATE_BITS_MAX},
        {"tls_timeout", c->tls_timeout, 1, INT64_MAX},
        {"message_timeout", c->message_timeout, 1, INT64_MAX},
        {"handshake_timeout", c->handshake_timeout, 1, INT64_MAX},
        {"feed_size", c->feed_size, STAMP_SIZE, UINT32_MAX / 2},
        {"feed_keys", c->feed_keys, 1, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        if (bounds[i].value >= bounds[i].least && bounds[i].value <= bounds[i].most)
            continue;
        snprintf(why, why_size, "%s: %llu is not accepted; give %llu to %llu", bounds[i].name,
                 (unsigned long long)bounds[i].value, (unsigned long long)bounds[i].least,
                 (unsigned long long)bounds[i].most);
        return false;
    }
    if (c->path.at[0] != '\0' && c->path.at[0] != '/') {
        snprintf(why, why_size, "path: '%s' is not accepted; give one that begins with /", c->path.at);
        return false;
    }
    if (c->session_size > 0 && c->history > 0) {
        snprintf(why, why_size, "session_size: not together with history; give one of them");
        return false;
    }
    if (!upgrade_subprotocols_valid(c->subprotocols.at)) {
        snprintf(why, why_size, "subprotocols: '%s' is not accepted; give distinct tokens, comma-separated",
                 c->subprotocols.at);
        return false;
    }
    if (!origin_list_valid(c->origins.at)) {
        snprintf(why, why_size,
                 "origins: '%s' is not accepted; give scheme://host[:port], null or absent, "
                 "comma-separated",
                 c->origins.at);
        return false;
    }
    return true;
}

bool config_check_swarm(const struct swarm_config *c, char *why, size_t why_size)
{
    if (c->clients == 0)
        snprintf(why, why_size, "clients: 0 is not accepted; give 1 or more");
    else if (c->source.at[0] != '\0' && !sock_is_address(c->source.at))
        snprintf(why, why_size, "source: '%s' is not accepted; give an IPv4 address", c->source.at);
    else if (c->connect_timeout == 0)
        snprintf(why, why_size, "connect_timeout: 0 is not accepted; give more");
    else if (c->connect_rate <= 0)
        snprintf(why, why_size, "connect_rate: 0 is not accepted; give more");
    else if (c->publish_size < STAMP_SIZE || c->publish_size > UINT32_MAX / 2)
        snprintf(why, why_size, "publish_size: %llu is not accepted; give 48 bytes to 2 GiB",
                 (unsigned long long)c->publish_size);
    else
        return true;
    return false;
}
