#include "role/config.h"

#include "base/bytes.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

#define LIVE  true
#define FIXED false

static const struct option server_options[] = {
#define SERVER(name, type, fallback, when, choices, help)                                                    \
    {#name, OPTION_##type, fallback, when, choices, help, offsetof(struct server_config, name)},
#define SWARM(...)
#include "role/config.def"
#undef SERVER
#undef SWARM
};

static const struct option swarm_options[] = {
#define SERVER(...)
#define SWARM(name, type, fallback, when, choices, help)                                                     \
    {#name, OPTION_##type, fallback, when, choices, help, offsetof(struct swarm_config, name)},
#include "role/config.def"
#undef SERVER
#undef SWARM
};

static const struct {
    const char *name;
    const struct option *options;
    size_t count;
    size_t struct_size;
} roles[] = {
    [ROLE_SERVER] = {"server", server_options, sizeof server_options / sizeof *server_options,
                     sizeof(struct server_config)},
    [ROLE_SWARM] = {"swarm", swarm_options, sizeof swarm_options / sizeof *swarm_options,
                    sizeof(struct swarm_config)},
};

const char *config_role_name(enum role role)
{
    return roles[role].name;
}

int config_role(const char *name, enum role *ret_role)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(name, roles[i].name) == 0) {
            *ret_role = (enum role)i;
            return 0;
        }
    }
    return ERR_VERB;
}

const char *config_type_name(enum option_type type)
{
    static const char *const names[] = {
        [OPTION_COUNT] = "count", [OPTION_SIZE] = "size",           [OPTION_DURATION] = "duration",
        [OPTION_RATE] = "rate",   [OPTION_BYTE_RATE] = "byte_rate", [OPTION_BOOLEAN] = "boolean",
        [OPTION_TEXT] = "text",   [OPTION_CHOICE] = "choice",       [OPTION_RATIO] = "ratio",
    };
    return names[type];
}

const struct option *config_options(enum role role, size_t *ret_count)
{
    *ret_count = roles[role].count;
    return roles[role].options;
}

void config_defaults(enum role role, void *config)
{
    char why[256];
    memset(config, 0, roles[role].struct_size);
    for (size_t i = 0; i < roles[role].count; i++) {
        const struct option *o = &roles[role].options[i];
        if (config_set(role, config, o->name, o->fallback, false, why, sizeof why) < 0)
            abort(); /* config.def contradicts itself: found by the first start of any kind */
    }
}

static const struct option *find_option(enum role role, const char *name)
{
    for (size_t i = 0; i < roles[role].count; i++)
        if (strcmp(name, roles[role].options[i].name) == 0)
            return &roles[role].options[i];
    return NULL;
}

/* The place of `value` among "a|b|c", or -1. */
static int choice_index(const char *choices, const char *value)
{
    size_t size = strlen(value);
    for (int i = 0;; i++) {
        size_t length = strcspn(choices, "|");
        if (length == size && memcmp(choices, value, size) == 0)
            return i;
        if (choices[length] == '\0')
            return -1;
        choices += length + 1;
    }
}

static int parse_boolean(const char *value)
{
    if (strcmp(value, "true") == 0)
        return 1;
    return strcmp(value, "false") == 0 ? 0 : -1;
}

static int store_number(const struct option *o, const char *value, void *field)
{
    double number;
    if (units_parse((enum unit_kind)o->type, value, &number) < 0)
        return ERR_OPTION_VALUE;
    if (o->type == OPTION_RATE || o->type == OPTION_BYTE_RATE || o->type == OPTION_RATIO)
        *(double *)field = number;
    else
        *(uint64_t *)field = (uint64_t)number;
    return 0;
}

static int store(const struct option *o, const char *value, void *field)
{
    int parsed;
    switch (o->type) {
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
    case OPTION_BYTE_RATE:
    case OPTION_RATIO: return store_number(o, value, field);
    case OPTION_BOOLEAN:
        if ((parsed = parse_boolean(value)) < 0)
            return ERR_OPTION_VALUE;
        *(bool *)field = parsed;
        return 0;
    case OPTION_CHOICE:
        if ((parsed = choice_index(o->choices, value)) < 0)
            return ERR_OPTION_VALUE;
        *(int *)field = parsed;
        return 0;
    case OPTION_TEXT:
        if (strlen(value) >= OPTION_TEXT_MAX)
            return ERR_OPTION_VALUE;
        memcpy(((struct option_text *)field)->at, value, strlen(value) + 1);
        return 0;
    }
    return ERR_OPTION_VALUE;
}

static const char *accepted(const struct option *o)
{
    switch (o->type) {
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
    case OPTION_BYTE_RATE:
    case OPTION_RATIO: return units_accepted((enum unit_kind)o->type);
    case OPTION_BOOLEAN: return "true or false";
    case OPTION_CHOICE: return o->choices;
    case OPTION_TEXT: return "text of up to 255 bytes";
    }
    return "";
}

/* Values become lines of HTTP heads, of the control channel and of logs. */
static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            return true;
    return false;
}

int config_set(enum role role, void *config, const char *name, const char *value, bool running, char *why,
               size_t why_size)
{
    const struct option *o = find_option(role, name);
    if (o == NULL) {
        snprintf(why, why_size, "%s: no such option of the %s", name, roles[role].name);
        return ERR_OPTION_NAME;
    }
    if (running && !o->live) {
        snprintf(why, why_size, "%s: cannot change while the %s runs", name, roles[role].name);
        return ERR_OPTION_FIXED;
    }
    if (has_control(value)) {
        snprintf(why, why_size, "%s: control characters are not accepted; give %s", name, accepted(o));
        return ERR_OPTION_VALUE;
    }
    if (store(o, value, (char *)config + o->offset) < 0) {
        snprintf(why, why_size, "%s: '%s' is not accepted; give %s", name, value, accepted(o));
        return ERR_OPTION_VALUE;
    }
    return 0;
}

struct deflate_terms config_deflate(bool on, int takeover, uint64_t server_bits)
{
    return (struct deflate_terms){
        .on = on,
        .server_no_context = !(takeover & TAKEOVER_SERVER),
        .client_no_context = !(takeover & TAKEOVER_CLIENT),
        .server_bits = (uint8_t)server_bits,
        .client_bits = DEFLATE_BITS_MAX,
    };
}

static int set_one(enum role role, void *config, const char *setting, bool running, char *why,
                   size_t why_size)
{
    char name[64];
    const char *equals = strchr(setting, '=');
    size_t size = equals == NULL ? strlen(setting) : (size_t)(equals - setting);
    if (equals == NULL || size >= sizeof name) {
        snprintf(why, why_size, "'%s' is not accepted; give name=value", setting);
        return ERR_OPTION_NAME;
    }
    memcpy(name, setting, size);
    name[size] = '\0';
    return config_set(role, config, name, equals + 1, running, why, why_size);
}

int config_set_all(enum role role, void *config, const char *const *settings, bool running, char *why,
                   size_t why_size)
{
    union {
        struct server_config server;
        struct swarm_config swarm;
    } trial;
    memcpy(&trial, config, roles[role].struct_size);
    for (; settings != NULL && *settings != NULL; settings++) {
        int err = set_one(role, &trial, *settings, running, why, why_size);
        if (err < 0)
            return err;
    }
    memcpy(config, &trial, roles[role].struct_size);
    return 0;
}
