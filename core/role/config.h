/* Options by name: the structs that config.def makes, and one setter for all of them. */
#pragma once

#include "base/units.h"
#include "wire/deflate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role { ROLE_SERVER, ROLE_SWARM };

enum option_type {
    OPTION_COUNT = UNIT_COUNT,
    OPTION_SIZE = UNIT_SIZE,
    OPTION_DURATION = UNIT_DURATION,
    OPTION_RATE = UNIT_RATE,
    OPTION_BYTE_RATE = UNIT_BYTE_RATE,
    OPTION_RATIO = UNIT_RATIO,
    OPTION_BOOLEAN = UNIT_KINDS,
    OPTION_TEXT,
    OPTION_CHOICE
};

/* The order is that of the choices of deflate_takeover: a bit for each side. */
enum takeover { TAKEOVER_NONE, TAKEOVER_CLIENT, TAKEOVER_SERVER, TAKEOVER_BOTH };

enum { OPTION_TEXT_MAX = 256 };

struct option_text {
    char at[OPTION_TEXT_MAX];
};

#define OPTION_FIELD_COUNT     uint64_t
#define OPTION_FIELD_SIZE      uint64_t
#define OPTION_FIELD_DURATION  uint64_t
#define OPTION_FIELD_RATE      double
#define OPTION_FIELD_BYTE_RATE double
#define OPTION_FIELD_RATIO     double
#define OPTION_FIELD_BOOLEAN   bool
#define OPTION_FIELD_TEXT      struct option_text
#define OPTION_FIELD_CHOICE    int

struct server_config {
#define SERVER(name, type, ...) OPTION_FIELD_##type name;
#define SWARM(...)
#include "role/config.def"
#undef SERVER
#undef SWARM
};

struct swarm_config {
#define SERVER(...)
#define SWARM(name, type, ...) OPTION_FIELD_##type name;
#include "role/config.def"
#undef SERVER
#undef SWARM
};

struct option {
    const char *name;
    enum option_type type;
    const char *fallback; /* the default, as one would write it */
    bool live;
    const char *choices; /* "a|b|c" of a CHOICE */
    const char *help;
    size_t offset; /* in the role's struct */
};

const char *config_role_name(enum role role);
/* "server" or "swarm"; ERR_VERB for anything else. */
int config_role(const char *name, enum role *ret_role);
const char *config_type_name(enum option_type type);
const struct option *config_options(enum role role, size_t *ret_count);

/* config: the role's struct, filled with the defaults. */
void config_defaults(enum role role, void *config);
/* Whether a role's options are in range and well-formed beyond their types; else `why` says which is not. */
bool config_check_swarm(const struct swarm_config *c, char *why, size_t why_size);
bool config_check_server(const struct server_config *c, char *why, size_t why_size);
/* What the deflate options of either role stand for. */
struct deflate_terms config_deflate(bool on, int takeover, uint64_t server_bits);
/* Parses and stores. running: FIXED options are refused. On ERR_OPTION_*, `why` says which option, what was
 * given and what would be accepted, and config is as it was. */
int config_set(enum role role, void *config, const char *name, const char *value, bool running, char *why,
               size_t why_size);
/* The same for a NULL-terminated array of "name=value"; all or nothing. NULL is an empty array. */
int config_set_all(enum role role, void *config, const char *const *settings, bool running, char *why,
                   size_t why_size);
