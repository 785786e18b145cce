/* The nodes of a Redis cluster and which slots are whose, as the nodes themselves tell. Internal to
 * redis_cluster. */
#pragma once

#include "peer/redis.h"
#include "wire/redis_slot.h"

enum { REDIS_MAP_REASON_MAX = 384 };

enum redis_map_kind { MAP_UNKNOWN, MAP_SINGLE, MAP_SLOTS };

struct redis_map;

struct redis_node {
    struct redis_map *map;
    struct redis_url url;
    struct redis *command;
    struct redis *subscriber; /* NULL until it is needed */
    bool listed;              /* in the map */
    uint64_t named_ns;        /* when a redirect did; 0: none has */
};

struct redis_map {
    struct loop *loop;
    struct redis_options options; /* of each link: events are told to its node */
    /* The map, or who is up, is another. Not to act at once. */
    void (*changed)(struct redis_map *);
    /* Nothing may hold the node any more. */
    void (*gone)(struct redis_map *, const struct redis_node *);

    enum redis_map_kind kind;
    struct redis_node **node; /* the first is the one of the URL, and stays */
    size_t count;
    struct redis_node **slot; /* of REDIS_SLOTS; NULL entries: nobody's, so many: */
    size_t empty;
    struct redis_node *any;   /* where goes what has no slot */
    struct redis_node *asked; /* for the map; NULL: nobody is */
    size_t next_to_ask;
    uint64_t asked_ns;
    bool stale; /* it is to be asked for */
    bool closed;
    char reason[REDIS_MAP_REASON_MAX]; /* why not all is up: what went wrong last */
};

/* loop, options and the two functions are set. */
void redis_map_begin(struct redis_map *m);
/* Frees all links, which answers what waits for them; the nodes stay until redis_map_release. */
void redis_map_close(struct redis_map *m);
void redis_map_release(struct redis_map *m);

/* Asks whoever is up, where the map is stale, nobody is asked and the last time is long enough ago. */
void redis_map_ask(struct redis_map *m);
/* While it is not all up: how often to come round, and whether to ask anew although nobody said so. */
enum { REDIS_MAP_AGAIN_MS = 250 };
void redis_map_doubt(struct redis_map *m);

/* NULL: nobody's, or not known yet. by_slot false: any node, the same as long as it is up. */
struct redis_node *redis_map_node(struct redis_map *m, struct slice key, bool by_slot);
/* The node that `by` has pointed to; -MOVED is noted. NULL where that makes no sense. */
struct redis_node *redis_map_redirect(struct redis_map *m, const struct redis_node *by,
                                      const struct redis_redirect *to);
/* Its subscriber link, made when there is none. */
struct redis *redis_map_subscriber(struct redis_node *n);
/* Whether every slot has a node that is up. */
bool redis_map_all_up(struct redis_map *m);
