#include "role/aim.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/fnv.h"
#include "net/sock.h"

#include <stdio.h>
#include <stdlib.h>

/* The query that is added to a target. */
enum { QUERY_ROOM = 80 };

static int wrong(char *why, size_t why_size, const char *option, const char *text, const char *what)
{
    snprintf(why, why_size, "%s: '%s' is not accepted; %s", option, text, what);
    return ERR_OPTION_VALUE;
}

static int read_url(const char *option, const char *text, struct url *ret_url, char *why, size_t why_size)
{
    if (url_parse(text, ret_url) < 0 || strlen(ret_url->target) + QUERY_ROOM > URL_TARGET_MAX)
        return wrong(why, why_size, option, text, "give ws:// or wss://host:port/path");
    if (sock_is_address(ret_url->host))
        return 0;
    snprintf(why, why_size, "%s: host '%s' is not accepted; give a numeric address or localhost", option,
             ret_url->host);
    return ERR_OPTION_VALUE;
}

/* All share one TLS context, which checks one name. */
static bool fits(const struct url *first, const struct url *other)
{
    return first->secure == other->secure && (!first->secure || strcmp(first->host, other->host) == 0);
}

int aim_configure(struct aim *a, const struct swarm_config *c, char *why, size_t why_size)
{
    char one[OPTION_TEXT_MAX];
    int err = read_url("url", c->url.at, &a->url[0], why, why_size);
    a->count = 1;
    for (const char *text = c->servers.at; err == 0 && *text != '\0'; a->count++) {
        size_t size = strcspn(text, ",");
        snprintf(one, sizeof one, "%.*s", (int)size, text);
        if (a->count == AIM_MAX)
            return wrong(why, why_size, "servers", one, "it is one too many; give 15 at most");
        err = read_url("servers", one, &a->url[a->count], why, why_size);
        if (err == 0 && !fits(&a->url[0], &a->url[a->count]))
            return wrong(why, why_size, "servers", one, "give the scheme, and for wss the host, of url");
        text += size + (text[size] == ',');
    }
    return err;
}

/* Cohorts of the same seed do not all go the same way. */
void aim_start(struct aim *a, const struct swarm_config *c)
{
    rng_seed(&a->rng, fnv_add(FNV_START, c->cohort.at, strlen(c->cohort.at)) ^ ~c->seed);
    if (a->count > 1)
        a->of = mem_zero(c->clients * sizeof *a->of);
}

void aim_stop(struct aim *a)
{
    free(a->of);
    a->of = NULL;
}

void aim_pick(struct aim *a, uint64_t client)
{
    if (a->of != NULL)
        a->of[client] = (uint8_t)(rng_unit(&a->rng) * (double)a->count);
}

const struct url *aim_url(struct aim *a, uint64_t client, const char *query)
{
    const struct url *chosen = &a->url[a->of != NULL ? a->of[client] : 0];
    if (*query == '\0')
        return chosen;
    a->now = *chosen;
    size_t size = strlen(a->now.target);
    snprintf(a->now.target + size, sizeof a->now.target - size, "%c%s",
             strchr(a->now.target, '?') != NULL ? '&' : '?', query);
    return &a->now;
}
