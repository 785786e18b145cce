#include "hub/policy.h"

bool policy_over(const struct policy *p, uint64_t queued, uint64_t size)
{
    if (p->mark == 0)
        return false;
    return size > p->mark || queued > p->mark - size;
}

enum verdict policy_decide(const struct policy *p, uint64_t queued, uint64_t size)
{
    if (!policy_over(p, queued, size))
        return VERDICT_QUEUE;
    switch (p->on_overflow) {
    case OVERFLOW_NONE: return VERDICT_QUEUE;
    case OVERFLOW_CLOSE: return VERDICT_EVICT;
    case OVERFLOW_DROP_NEWEST: return VERDICT_DROP_NEWEST;
    case OVERFLOW_DROP_OLDEST: return VERDICT_MAKE_ROOM;
    case OVERFLOW_CONFLATE: return VERDICT_CONFLATE;
    }
    return VERDICT_QUEUE;
}
