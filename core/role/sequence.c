#include "role/sequence.h"

static void shift_in(struct sequence *s, uint64_t number)
{
    uint64_t by = number + 1 - s->next;
    s->recent = by < 64 ? s->recent << by | 1 : 1;
    s->next = number + 1;
}

enum arrival sequence_note(struct sequence *s, uint64_t number, uint64_t *ret_skipped)
{
    *ret_skipped = 0;
    if (s->next == 0) {
        s->next = number + 1;
        s->recent = UINT64_MAX; /* what came before it is not this subscriber's */
        return ARRIVAL_IN_ORDER;
    }
    if (number >= s->next) {
        *ret_skipped = number - s->next;
        shift_in(s, number);
        return *ret_skipped == 0 ? ARRIVAL_IN_ORDER : ARRIVAL_AFTER_GAP;
    }
    uint64_t back = s->next - 1 - number;
    if (back >= 64 || (s->recent >> back & 1) != 0)
        return ARRIVAL_DUPLICATE;
    s->recent |= 1ULL << back;
    return ARRIVAL_LATE;
}
