#include "peer/hint.h"

#include "base/bytes.h"
#include "base/clock.h"

static const char prefix[] = "{\"wsb\":\"reconnect\",\"window_ms\":";

/* The digits that text begins with, behind blanks, as so many of the unit; at most HINT_MAX_NS. */
static uint64_t read_number(struct slice text, uint64_t unit_ns)
{
    uint64_t number = 0;
    size_t i = 0;
    while (i < text.size && text.at[i] == ' ')
        i++;
    for (; i < text.size && text.at[i] >= '0' && text.at[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(text.at[i] - '0');
        if (number > HINT_MAX_NS / unit_ns)
            return HINT_MAX_NS;
    }
    return number * unit_ns;
}

uint64_t hint_retry_after_ns(const struct http1_head *response)
{
    return read_number(http1_value(response, "Retry-After"), NS_PER_S);
}

uint64_t hint_window_ns(const struct message *close)
{
    const size_t size = sizeof prefix - 1;
    if ((close->close_code != 1012 && close->close_code != 1013) || close->size <= size ||
        memcmp(close->at, prefix, size) != 0)
        return 0;
    return read_number((struct slice){(const char *)close->at + size, close->size - size}, NS_PER_MS);
}
