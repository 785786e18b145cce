#include "role/returning.h"

#include "base/count.h"
#include "base/clock.h"
#include "role/session.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void returning_free(struct returning *r)
{
    free(r->cookie);
    r->cookie = NULL;
}

/* ?client=COHORT-INDEX&visit=N: the number of the visit tells a server whether it had the last one. */
static void identify(const struct returning *r, const struct swarm_config *c, uint64_t index, char *target)
{
    size_t used = strlen(target), end = URL_TARGET_MAX + RETURNING_MAX;
    used += (size_t)snprintf(target + used, end - used, "%cclient=", strchr(target, '?') ? '&' : '?');
    for (const char *at = c->cohort.at; *at != '\0'; at++)
        target[used++] = isalnum((unsigned char)*at) ? *at : '_';
    snprintf(target + used, end - used, "-%" PRIu64 "&visit=%" PRIu64, index, r->visits + 1);
}

void returning_ask(const struct returning *r, const struct swarm_config *c, uint64_t index, char *target,
                   struct buf *lines)
{
    if (c->identify)
        identify(r, c, index, target);
    if (r->cookie != NULL)
        cookie_tell(r->cookie, lines);
}

void returning_hear(struct returning *r, const struct swarm_config *c, const struct http1_head *answer)
{
    if (!c->cookies || http1_value(answer, "Set-Cookie").at == NULL)
        return;
    if (r->cookie == NULL)
        r->cookie = mem_zero(sizeof *r->cookie);
    cookie_hear(r->cookie, answer);
}

void returning_opened(struct returning *r, uint64_t began_ns)
{
    r->visits++;
    r->began_ns = began_ns;
}

void returning_note(struct returning *r, const struct message *message, uint64_t now_ns)
{
    if (r->began_ns == 0 || !session_told(message))
        return;
    count_time(HIST_session_time, now_ns - r->began_ns);
    r->began_ns = 0;
}
