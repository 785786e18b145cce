/* A Redis, one server or a cluster, behind the interface of one link: what has a key goes to the node of its
 * slot, the rest to any node. For each node a command link, and a subscriber link once it is needed.
 *
 *     first link UP -> CLUSTER SLOTS -> a single server: it has all slots
 *                                    -> a cluster: links to every master
 *
 * The map is asked for again after a -MOVED, when a link is lost or comes up, and twice a second while a slot
 * has no node that is up; whoever is up is asked. The contracts of peer/redis.h hold here as well. */
#pragma once

#include "peer/redis.h"

struct redis_cluster;

/* The options are each link's, `subscriber` aside; url is where to begin, later all known nodes are asked.
 *   up            every slot has a node whose command link is UP
 *   down          no longer, or not yet: which link, and why
 *   unsubscribed  also when a channel moves to another node; it is subscribed to there without being asked
 * max_pending_bytes also bounds the copies of unanswered commands that a cluster may have to redirect. */
struct redis_cluster *redis_cluster_new(struct loop *loop, const struct redis_options *options);
/* As redis_free. */
void redis_cluster_free(struct redis_cluster *c);

bool redis_cluster_up(const struct redis_cluster *c);
/* For how long it has not been up; 0 when it is. */
uint64_t redis_cluster_down_ns(const struct redis_cluster *c);
/* "" when it is up. */
const char *redis_cluster_down_reason(const struct redis_cluster *c);
size_t redis_cluster_pending_bytes(const struct redis_cluster *c);

/* Tells of each link: where to, for subscriptions or commands, and how it is. */
void redis_cluster_each_link(const struct redis_cluster *c,
                             void (*visit)(void *arg, const char *place, bool subscriber,
                                           const struct redis *),
                             void *arg);

/* key: what decides the node, {tag} observed; its `at` NULL: any node. As redis_command; ERR_CLOSED also
 * where the slot has no node, or the map is not known yet. A -MOVED or -ASK is followed once, if a link to
 * that node is UP; else it is the answer. Commands of different keys may be answered out of order. */
int redis_cluster_command(struct redis_cluster *c, struct slice key, redis_answer *fn, void *arg, int argc,
                          const char **argv, const size_t *argvlen);

/* sharded: at the node of the channel's slot (publish with SPUBLISH and the channel as key). Else at any one
 * node, to which a cluster forwards each PUBLISH. */
void redis_cluster_subscribe(struct redis_cluster *c, struct slice channel, bool sharded);
void redis_cluster_unsubscribe(struct redis_cluster *c, struct slice channel, bool sharded);
