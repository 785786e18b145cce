#include "peer/overflow.h"

#include "peer/gap.h"
#include "base/count.h"

static void tell_gap(const struct overflow_rules *rules, struct sendq *out, bool at_front, uint32_t dropped,
                     uint64_t now_ns)
{
    if (rules->gap_notice && dropped > 0)
        gap_note(out, at_front, dropped, now_ns);
}

/* Drops from the front until `size` more fits, and the notice that says so; false when it cannot. */
static bool make_room(const struct overflow_rules *rules, struct sendq *out, uint64_t size, uint64_t now_ns)
{
    uint64_t mark = rules->policy.mark;
    uint64_t wanted = size + (rules->gap_notice ? GAP_FRAME_SIZE : 0);
    uint32_t missing;
    if (wanted > mark)
        return false;
    count_add(COUNT_deliveries_dropped, gap_drop_oldest(out, mark - wanted, &missing));
    tell_gap(rules, out, true, missing, now_ns);
    return !policy_over(&rules->policy, out->bytes, size);
}

/* Drops what the new message replaces. */
static void conflate(const struct overflow_rules *rules, struct sendq *out, uint64_t key, uint64_t now_ns)
{
    uint32_t dropped = sendq_drop_key(out, key);
    count_add(COUNT_deliveries_dropped, dropped);
    tell_gap(rules, out, true, dropped, now_ns);
}

enum overflow_result overflow_admit(const struct overflow_rules *rules, struct sendq *out,
                                    const struct cast *cast, uint64_t size, bool whole, uint64_t now_ns)
{
    enum verdict verdict = policy_decide(&rules->policy, out->bytes, size);
    switch (verdict != VERDICT_QUEUE && whole ? VERDICT_EVICT : verdict) {
    case VERDICT_QUEUE: return OVERFLOW_ADMIT;
    case VERDICT_EVICT: return OVERFLOW_EVICT;
    case VERDICT_DROP_NEWEST: break;
    case VERDICT_CONFLATE:
        conflate(rules, out, cast->key, now_ns);
        if (!policy_over(&rules->policy, out->bytes, size) || make_room(rules, out, size, now_ns))
            return OVERFLOW_ADMIT;
        break;
    case VERDICT_MAKE_ROOM:
        if (make_room(rules, out, size, now_ns))
            return OVERFLOW_ADMIT;
        break;
    }
    count_add(COUNT_deliveries_dropped, 1);
    tell_gap(rules, out, false, 1, now_ns);
    return OVERFLOW_DROP;
}
