/* Who gets what: topics by name, each an array of members. A broadcast walks the array; joining and leaving
 * during a walk is put right afterwards, never under the walker's feet. */
#pragma once

#include "hub/cast.h"
#include "hub/member.h"
#include "base/bytes.h"

struct hub;

struct hub *hub_new(void);
/* Members must have left. */
void hub_free(struct hub *h);

/* Into this topic and out of any other. A topic is made when first joined and kept while it has members. */
void hub_join(struct hub *h, struct slice topic, struct member *m);
/* Harmless for a member that is in no topic. */
void hub_leave(struct hub *h, struct member *m);
/* Hands the cast to every member of the topic except `except` (may be NULL) and those that join meanwhile;
 * how many. */
uint32_t hub_publish(struct hub *h, struct slice topic, struct cast *cast, const struct member *except);
/* The same for a topic that a member of it names by its own pointer: no look-up. */
uint32_t hub_publish_to(struct hub *h, struct topic *t, struct cast *cast, const struct member *except);
/* Valid while the topic has members. */
struct slice hub_topic_name(const struct topic *t);
/* What the messages of its members conflate by, if they name nothing else: cast_key of its name. */
uint64_t topic_key(const struct topic *t);
uint32_t hub_members(const struct hub *h, struct slice topic);
