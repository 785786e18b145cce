#include "peer/gap.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

static const char prefix[] = "{\"wsb\":\"gap\",\"dropped\":";
enum { PREFIX_SIZE = sizeof prefix - 1, DIGITS = 10, PAYLOAD_SIZE = PREFIX_SIZE + DIGITS + 1 };
_Static_assert(GAP_FRAME_SIZE == 2 + PAYLOAD_SIZE, "a short header, then the payload");

/* No cast has this key, so it marks a blob as a notice that this queue owns alone and may write over. */
static const uint64_t NOTICE_KEY = UINT64_MAX;

static uint8_t *payload_of(struct blob *notice)
{
    return notice->bytes + notice->size - PAYLOAD_SIZE;
}

static uint64_t read_number(const uint8_t *payload)
{
    char digits[DIGITS + 1] = {0};
    memcpy(digits, payload + PREFIX_SIZE, DIGITS);
    return strtoull(digits, NULL, 10);
}

static void write_number(uint8_t *payload, uint64_t dropped)
{
    char text[PAYLOAD_SIZE + 1];
    snprintf(text, sizeof text, "%s%-10u}", prefix, (unsigned)(dropped > UINT32_MAX ? UINT32_MAX : dropped));
    memcpy(payload, text, PAYLOAD_SIZE);
}

static bool is_notice(const struct blob *blob)
{
    return blob != NULL && blob->key == NOTICE_KEY;
}

uint32_t gap_drop_oldest(struct sendq *q, uint64_t most, uint32_t *ret_missing)
{
    struct blob *first;
    uint64_t noted = 0;
    uint32_t messages = 0;
    while ((first = sendq_first_unstarted(q)) != NULL && (is_notice(first) || q->bytes > most)) {
        if (is_notice(first))
            noted += read_number(payload_of(first));
        else if (!frame_is_control(first->bytes[0]))
            messages++;
        sendq_drop_oldest(q, first->size);
    }
    *ret_missing = messages + (uint32_t)noted;
    return messages;
}

void gap_note(struct sendq *q, bool at_front, uint32_t dropped, uint64_t now_ns)
{
    struct blob *there = at_front ? sendq_first_unstarted(q) : sendq_last_unstarted(q);
    if (is_notice(there)) {
        write_number(payload_of(there), read_number(payload_of(there)) + dropped);
        return;
    }
    uint8_t payload[PAYLOAD_SIZE];
    write_number(payload, dropped);
    struct blob *notice = message_frame(FRAME_TEXT, payload, sizeof payload, NULL, now_ns);
    notice->key = NOTICE_KEY;
    if (at_front)
        sendq_push_front(q, notice);
    else
        sendq_push(q, notice);
}

size_t gap_write(char *at, uint64_t dropped)
{
    write_number((uint8_t *)at, dropped);
    return PAYLOAD_SIZE;
}

uint64_t gap_read(const struct message *message)
{
    if (message->kind != MESSAGE_TEXT || message->size != PAYLOAD_SIZE)
        return 0;
    return memcmp(message->at, prefix, PREFIX_SIZE) == 0 ? read_number(message->at) : 0;
}
