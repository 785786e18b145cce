/* The bytes of a connection, whole, one by one, and in pieces: the same messages, the same error. First byte:
 * role, limits, inflation; second: the pieces. */
#include "fuzz.h"
#include "wire/message.h"

/* What a reader made of the bytes. */
struct story {
    size_t messages;
    uint64_t sum;
    int err;
};

enum { SETUP_SERVER = 1, SETUP_INFLATE = 2, SETUP_KEEP = 4, SETUP_SMALL = 8, SETUP_FRAGMENTS = 16 };

static uint64_t mixed(uint64_t sum, const void *at, size_t size)
{
    const uint8_t *bytes = at;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3U;
    return sum;
}

static void tell(struct story *story, const struct message *message)
{
    if (message->kind == MESSAGE_NONE)
        return;
    story->messages++;
    story->sum = mixed(story->sum, &message->kind, sizeof message->kind);
    story->sum = mixed(story->sum, &message->close_code, sizeof message->close_code);
    story->sum = mixed(story->sum, &message->size, sizeof message->size);
    story->sum = mixed(story->sum, message->at, message->size);
}

/* All bytes of a piece, which lies in memory of its own. */
static int read_piece(struct message_reader *reader, const uint8_t *at, size_t size, struct story *story)
{
    uint8_t *copy = fuzz_copy(at, size);
    long taken = 1;
    for (size_t done = 0; taken > 0 && done < size; done += (size_t)taken) {
        struct message message;
        taken = message_read(reader, copy + done, size - done, &message);
        EXPECT(taken != 0);
        if (taken < 0)
            break;
        EXPECT((size_t)taken <= size - done);
        EXPECT(message.kind == MESSAGE_NONE || message.size <= reader->limit ||
               message.size <= FRAME_CONTROL_MAX);
        tell(story, &message);
    }
    free(copy);
    return taken < 0 ? (int)taken : 0;
}

/* step: bytes of a piece; pieces grow by `growth`. */
static struct story read_all(uint8_t setup, const uint8_t *at, size_t size, size_t step, size_t growth)
{
    struct inflation inflation = {.bits = 15, .keep_context = setup & SETUP_KEEP};
    struct message_reader reader;
    struct story story = {0};
    message_reader_init(&reader, setup & SETUP_SERVER, setup & SETUP_SMALL ? 100 : 70000);
    reader.inflation = setup & SETUP_INFLATE ? &inflation : NULL;
    reader.max_fragments = setup & SETUP_FRAGMENTS ? 3 : 0;
    for (size_t done = 0, piece; story.err == 0 && done < size; done += piece) {
        piece = least(step, size - done);
        story.err = read_piece(&reader, at + done, piece, &story);
        step += growth;
    }
    message_reader_free(&reader);
    inflation_release(&inflation);
    return story;
}

static void expect_same(const struct story *a, const struct story *b)
{
    EXPECT(a->messages == b->messages && a->sum == b->sum && a->err == b->err);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    uint8_t setup = fuzz_byte(&at, &size);
    uint8_t pieces = fuzz_byte(&at, &size);
    struct story whole = read_all(setup, at, size, size, 0);
    struct story bytes = read_all(setup, at, size, 1, 0);
    struct story parts = read_all(setup, at, size, 1 + pieces % 16, pieces / 16);
    expect_same(&whole, &bytes);
    expect_same(&whole, &parts);
    return 0;
}
