/* The payload of a Close frame, read in both roles, whole and byte by byte; a good one is written again. */
#include "fuzz.h"
#include "wire/message.h"

static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};

/* The Close that reads the same must be the same bytes; a reason with a zero byte cannot be written. */
static void write_again(const struct message *message, const uint8_t *used_mask, const struct blob *frame)
{
    if (message->size > 0 && memchr(message->at, 0, message->size))
        return;
    char *reason = mem_zero(message->size + 1);
    if (message->size > 0)
        memcpy(reason, message->at, message->size);
    struct blob *again = message_close_frame(message->close_code, reason, used_mask, 0);
    EXPECT(again->size == frame->size && memcmp(again->bytes, frame->bytes, frame->size) == 0);
    blob_unref(again);
    free(reason);
}

static int read_close(const struct blob *frame, bool server, size_t step)
{
    struct message_reader reader;
    struct message message = {0};
    uint8_t *copy = fuzz_copy(frame->bytes, frame->size);
    long taken = 1;
    message_reader_init(&reader, server, 1000);
    for (size_t done = 0; taken > 0 && message.kind == MESSAGE_NONE; done += (size_t)taken) {
        EXPECT(done < frame->size);
        taken = message_read(&reader, copy + done, least(step, frame->size - done), &message);
    }
    EXPECT(taken != 0);
    if (taken > 0) {
        EXPECT(message.kind == MESSAGE_CLOSE && reader.closed);
        EXPECT(message.close_code == 1005 || message_close_code_allowed(message.close_code));
        write_again(&message, server ? mask : NULL, frame);
    }
    message_reader_free(&reader);
    free(copy);
    return taken < 0 ? (int)taken : message.close_code;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    size = least(size, FRAME_CONTROL_MAX);
    struct blob *masked = message_frame(FRAME_CLOSE, at, size, mask, 0);
    struct blob *plain = message_frame(FRAME_CLOSE, at, size, NULL, 0);
    int verdict = read_close(masked, true, masked->size);
    EXPECT(read_close(masked, true, 1) == verdict);
    EXPECT(read_close(plain, false, plain->size) == verdict);
    EXPECT(read_close(plain, false, 1) == verdict);
    EXPECT(read_close(plain, true, 1) == ERR_MASK && read_close(masked, false, 1) == ERR_MASK);
    blob_unref(masked);
    blob_unref(plain);
    return 0;
}
