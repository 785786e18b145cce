#include "base/backoff.h"

#include "base/clock.h"

#include <math.h>

static const uint64_t MINUTE_NS = 60 * NS_PER_S;

static uint64_t uniform(struct rng *rng, uint64_t below)
{
    return (uint64_t)(rng_unit(rng) * (double)below);
}

static uint64_t at_most(double ns, uint64_t cap_ns)
{
    return ns < (double)cap_ns ? (uint64_t)ns : cap_ns;
}

static uint64_t exponential(const struct backoff *b, uint64_t attempt)
{
    if (b->base_ns == 0) /* 0 * infinity */
        return 0;
    return at_most((double)b->base_ns * pow(b->factor, (double)(attempt - 1)), b->cap_ns);
}

static uint64_t decorrelated(const struct backoff *b, uint64_t before_ns, struct rng *rng)
{
    uint64_t most_ns = 3 * (before_ns > 0 ? before_ns : b->base_ns);
    uint64_t room_ns = most_ns > b->base_ns ? most_ns - b->base_ns : 0;
    return at_most((double)(b->base_ns + uniform(rng, room_ns)), b->cap_ns);
}

static uint64_t shaped(const struct backoff *b, const struct backoff_state *state, struct rng *rng)
{
    switch (b->shape) {
    case BACKOFF_FIXED: break;
    case BACKOFF_EXPONENTIAL: return exponential(b, state->attempts);
    case BACKOFF_DECORRELATED: return decorrelated(b, state->shaped_ns, rng);
    case BACKOFF_LIST: return b->delay_ns[state->attempts < b->delays ? state->attempts - 1 : b->delays - 1];
    }
    return b->base_ns;
}

static uint64_t jittered(const struct backoff *b, uint64_t ns, struct rng *rng)
{
    switch (b->jitter) {
    case JITTER_NONE: break;
    case JITTER_FULL: return uniform(rng, ns);
    case JITTER_EQUAL: return ns / 2 + uniform(rng, ns - ns / 2);
    case JITTER_SPREAD: return (uint64_t)((double)ns * (1 - b->spread + 2 * b->spread * rng_unit(rng)));
    case JITTER_ADDED: return ns + uniform(rng, b->added_ns);
    }
    return ns;
}

uint64_t backoff_next(const struct backoff *b, struct backoff_state *state, struct rng *rng)
{
    state->attempts++;
    if (state->attempts == 1 && b->window_ns > 0)
        return uniform(rng, b->window_ns);
    state->shaped_ns = shaped(b, state, rng);
    return state->attempts < b->jitter_from ? state->shaped_ns : jittered(b, state->shaped_ns, rng);
}

uint64_t backoff_pay(struct backoff_budget *budget, uint64_t size, uint64_t at_ns)
{
    if (size == 0)
        return at_ns;
    uint64_t price_ns = MINUTE_NS / size;
    uint64_t from_ns = budget->paid_until_ns + price_ns;
    uint64_t granted_ns = from_ns > at_ns + MINUTE_NS ? from_ns - MINUTE_NS : at_ns;
    budget->paid_until_ns =
        (budget->paid_until_ns > granted_ns ? budget->paid_until_ns : granted_ns) + price_ns;
    return granted_ns;
}
