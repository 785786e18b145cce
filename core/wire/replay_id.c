#include "wire/replay_id.h"

#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>

enum { EPOCH_SIZE = sizeof((struct replay_id){0}).epoch - 1 };

static bool take(struct slice *text, const char *literal)
{
    size_t size = strlen(literal);
    if (text->size < size || memcmp(text->at, literal, size) != 0)
        return false;
    *text = (struct slice){text->at + size, text->size - size};
    return true;
}

/* As it is printed: no sign, no zero in front, no more than 64 bits. */
static bool take_number(struct slice *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < text->size && text->at[i] >= '0' && text->at[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text->at[i] - '0');
        if (number > (UINT64_MAX - digit) / 10 || (i > 0 && number == 0))
            return false;
        number = number * 10 + digit;
    }
    if (i == 0)
        return false;
    *text = (struct slice){text->at + i, text->size - i};
    *ret_number = number;
    return true;
}

static bool take_epoch(struct slice *text, char epoch[EPOCH_SIZE + 1])
{
    if (text->size < EPOCH_SIZE)
        return false;
    for (size_t i = 0; i < EPOCH_SIZE; i++) {
        char c = text->at[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
    }
    memcpy(epoch, text->at, EPOCH_SIZE);
    epoch[EPOCH_SIZE] = '\0';
    *text = (struct slice){text->at + EPOCH_SIZE, text->size - EPOCH_SIZE};
    return true;
}

static bool take_id(struct slice *text, struct replay_id *id)
{
    return take_epoch(text, id->epoch) && take(text, ":") && take_number(text, &id->offset);
}

int replay_id_parse(struct slice text, struct replay_id *ret_id)
{
    struct replay_id id;
    if (!take_id(&text, &id) || text.size > 0)
        return ERR_PROTOCOL;
    *ret_id = id;
    return 0;
}

size_t replay_id_write(const struct replay_id *id, char text[REPLAY_ID_SIZE])
{
    return (size_t)snprintf(text, REPLAY_ID_SIZE, "%.8s:%" PRIu64, id->epoch, id->offset);
}

bool replay_id_same_epoch(const struct replay_id *a, const struct replay_id *b)
{
    return memcmp(a->epoch, b->epoch, EPOCH_SIZE) == 0;
}

int replay_split(struct slice payload, struct replay_id *ret_id, struct slice *ret_body)
{
    struct replay_id id;
    if (take(&payload, "-\n")) {
        *ret_body = payload;
        return 0;
    }
    if (!take_id(&payload, &id) || id.offset == 0 || !take(&payload, "\n"))
        return ERR_PROTOCOL;
    *ret_id = id;
    *ret_body = payload;
    return 1;
}

int replay_recovered_parse(struct slice payload, struct replay_recovered *ret_recovered)
{
    struct replay_recovered r = {0};
    if (!take(&payload, "{\"wsb\":\"recovered\",\"recovered\":"))
        return ERR_PROTOCOL;
    r.recovered = take(&payload, "true");
    if (!r.recovered && !take(&payload, "false"))
        return ERR_PROTOCOL;
    if (!take(&payload, ",\"epoch\":\"") || !take_epoch(&payload, r.at.epoch) ||
        !take(&payload, "\",\"offset\":") || !take_number(&payload, &r.at.offset) || !slice_is(payload, "}"))
        return ERR_PROTOCOL;
    *ret_recovered = r;
    return 0;
}

int replay_ack_parse(struct slice payload, struct replay_ack *ret_ack)
{
    struct replay_ack ack = {.stored = take(&payload, "{\"wsb\":\"ack\",\"n\":")};
    if (!ack.stored && !take(&payload, "{\"wsb\":\"nack\",\"n\":"))
        return ERR_PROTOCOL;
    if (!take_number(&payload, &ack.n) || ack.n == 0)
        return ERR_PROTOCOL;
    if (ack.stored && (!take(&payload, ",\"id\":\"") || !take_id(&payload, &ack.id) || ack.id.offset == 0 ||
                       !take(&payload, "\"")))
        return ERR_PROTOCOL;
    if (!slice_is(payload, "}"))
        return ERR_PROTOCOL;
    *ret_ack = ack;
    return 0;
}

size_t replay_recovered_write(const struct replay_recovered *recovered, char text[REPLAY_NOTICE_SIZE])
{
    return (size_t)snprintf(
        text, REPLAY_NOTICE_SIZE,
        "{\"wsb\":\"recovered\",\"recovered\":%s,\"epoch\":\"%.8s\",\"offset\":%" PRIu64 "}",
        recovered->recovered ? "true" : "false", recovered->at.epoch, recovered->at.offset);
}

size_t replay_ack_write(const struct replay_ack *ack, char text[REPLAY_NOTICE_SIZE])
{
    char id[REPLAY_ID_SIZE];
    if (!ack->stored)
        return (size_t)snprintf(text, REPLAY_NOTICE_SIZE, "{\"wsb\":\"nack\",\"n\":%" PRIu64 "}", ack->n);
    replay_id_write(&ack->id, id);
    return (size_t)snprintf(text, REPLAY_NOTICE_SIZE, "{\"wsb\":\"ack\",\"n\":%" PRIu64 ",\"id\":\"%s\"}",
                            ack->n, id);
}
