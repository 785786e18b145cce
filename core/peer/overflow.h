/* Carries out what hub/policy decides about a message that does not fit under the mark, on a connection's
 * queue.
 */
#pragma once

#include "hub/cast.h"
#include "hub/policy.h"
#include "net/sendq.h"

struct overflow_rules {
    struct policy policy;
    bool gap_notice; /* tell the client what was left out */
};

enum overflow_result { OVERFLOW_ADMIT, OVERFLOW_DROP, OVERFLOW_EVICT };

/* Makes room for `size` bytes of the cast, if the policy is to; what it drops is counted and told. whole: a
 * message left out would make the others unreadable, so it evicts instead. */
enum overflow_result overflow_admit(const struct overflow_rules *rules, struct sendq *out,
                                    const struct cast *cast, uint64_t size, bool whole, uint64_t now_ns);
