/* Where a client's next attempt goes: to one of several servers, and with which query. */
#pragma once

#include "role/config.h"
#include "base/rng.h"
#include "wire/url.h"

enum { AIM_MAX = 16 };

struct aim {
    struct url url[AIM_MAX];
    size_t count;
    uint8_t *of; /* which one each client goes to, NULL while there is one */
    struct rng rng;
    struct url now; /* that of the last aim_url */
};

/* Reads `url` and `servers`. ERR_OPTION_VALUE with `why`. */
int aim_configure(struct aim *a, const struct swarm_config *c, char *why, size_t why_size);
void aim_start(struct aim *a, const struct swarm_config *c);
void aim_stop(struct aim *a);
/* Before each attempt. */
void aim_pick(struct aim *a, uint64_t client);
/* Of the attempt under way; query: more parameters, or "". Valid until the next call. */
const struct url *aim_url(struct aim *a, uint64_t client, const char *query);
