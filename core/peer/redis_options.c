#include "base/clock.h"
#include "peer/redis.h"

static const char *const state_names[] = {"idle", "connecting", "securing", "greeting", "up", "down"};

const char *redis_state_name(enum redis_state state)
{
    return state_names[state];
}

uint64_t redis_backoff_ns(unsigned failures, double unit)
{
    uint64_t ceiling = 100 * NS_PER_MS;
    for (; failures > 0 && ceiling < 5 * NS_PER_S; failures--)
        ceiling *= 2;
    return (uint64_t)(unit * (double)least(ceiling, 5 * NS_PER_S));
}

static void set_default(uint64_t *value, uint64_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

struct redis_options redis_options_complete(struct redis_options o)
{
    if (o.name == NULL)
        o.name = "wsb";
    set_default(&o.connect_timeout_ns, 5 * NS_PER_S);
    set_default(&o.ping_interval_ns, 3 * NS_PER_S);
    set_default(&o.dead_after_ns, 7 * NS_PER_S);
    set_default(&o.command_timeout_ns, 5 * NS_PER_S);
    set_default(&o.max_pending_bytes, 8 << 20);
    set_default(&o.max_reply_bytes, 64 << 20);
    return o;
}
