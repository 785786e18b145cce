/* An id, an id line, a notice: one that is read is written the same. */
#include "fuzz.h"
#include "wire/replay_id.h"

static void check(const char *text, size_t size, struct slice was)
{
    EXPECT(slice_same((struct slice){text, size}, was));
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    char *copy = fuzz_copy(at, size);
    struct slice text = {copy, size}, body;
    char again[REPLAY_NOTICE_SIZE];
    struct replay_id id;
    struct replay_recovered recovered;
    struct replay_ack ack;
    if (replay_id_parse(text, &id) == 0)
        check(again, replay_id_write(&id, again), text);
    int kind = replay_split(text, &id, &body);
    if (kind >= 0) {
        size_t line = kind == 1 ? replay_id_write(&id, again) : 1;
        EXPECT(size == line + 1 + body.size && copy[line] == '\n');
        check(kind == 1 ? again : "-", line, (struct slice){copy, line});
    }
    if (replay_recovered_parse(text, &recovered) == 0)
        check(again, replay_recovered_write(&recovered, again), text);
    if (replay_ack_parse(text, &ack) == 0)
        check(again, replay_ack_write(&ack, again), text);
    free(copy);
    return 0;
}
