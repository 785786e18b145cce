/* Who gets what: topics by name, each an array of members. What is published to a topic waits until the
 * turn's end, and one walk over the array hands it to the members; joining and leaving during a walk is put
 * right afterwards, never under the walker's feet.
 *
 * Nobody sees a difference: a member gets what was published while it was one, in order. Whoever joins has
 * what came before handed out first, and whoever hands a member something by another way calls
 * hub_settle_topic. */
#pragma once

#include "hub/burst.h"
#include "hub/member.h"
#include "base/bytes.h"

struct hub;

struct hub_owner {
    /* Something waits now: hub_settle is to be called at the end of the turn. */
    void (*due)(struct hub_owner *);
    /* A burst has been handed to all. */
    void (*handed)(struct hub_owner *, struct burst *);
};

struct hub *hub_new(void);
void hub_own(struct hub *h, struct hub_owner *owner);
/* Members must have left. */
void hub_free(struct hub *h);

/* Into this topic and out of any other. A topic is made when first joined and kept while it has members. */
void hub_join(struct hub *h, struct slice topic, struct member *m);
/* It gets nothing more, not even what waits. Harmless for a member that is in no topic. */
void hub_leave(struct hub *h, struct member *m);
/* The cast, of which a copy is kept, is for every member of the topic that there is now, except `except` (may
 * be NULL); how many. */
uint32_t hub_publish(struct hub *h, struct slice topic, struct cast *cast, const struct member *except);
/* The same for a topic that a member of it names by its own pointer: no look-up. */
uint32_t hub_publish_to(struct hub *h, struct topic *t, struct cast *cast, const struct member *except);
/* Hands out what waits: all of it, or what waits in one topic (NULL: none). A topic whose last members leave
 * meanwhile is gone. While a burst is being handed out it does nothing: what is published then comes after.
 */
void hub_settle(struct hub *h);
void hub_settle_topic(struct hub *h, struct topic *t);
/* Valid while the topic has members. */
struct slice hub_topic_name(const struct topic *t);
/* What the messages of its members conflate by, if they name nothing else: cast_key of its name. */
uint64_t topic_key(const struct topic *t);
uint32_t hub_members(const struct hub *h, struct slice topic);
