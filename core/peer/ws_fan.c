#include "peer/ws_parts.h"

#include "base/count.h"
#include "base/err.h"
#include "net/batch.h"

/* The gauges show what is queued after a turn. A turn that piles up this much more is shown at once: the
 * process may not live to see its end. */
enum { UNSHOWN_MAX_BYTES = 16 * 1024 * 1024 };

static void show_queues(const struct ws_shared *shared)
{
    count_set(COUNT_queue_bytes, shared->ledger.total);
    count_set(COUNT_blob_bytes, blob_bytes_alive());
}

/* Asked for during a turn's flushes, so it runs when all of them are through. */
static void on_settled(struct turn *t)
{
    show_queues(LIST_OF(t, struct ws_shared, settled));
}

/* After some bytes have left, or where nothing but the sum is to be put right. */
static void account_less(struct ws *w)
{
    struct conn_work *work = w->conn.work;
    if (work != NULL)
        ledger_update(&shared_of(w)->ledger, &work->queued, work->out.bytes);
}

void ws_account(struct ws *w)
{
    const struct ledger *ledger = &shared_of(w)->ledger;
    account_less(w);
    if (w->state == WS_OPEN && conn_queued(&w->conn) > 0)
        ws_set_busy(w, true);
    count_peak(COUNT_queue_bytes_peak, ledger->total);
    if (ledger->total > count_get(COUNT_queue_bytes) + UNSHOWN_MAX_BYTES)
        show_queues(shared_of(w));
}

/* Of all connections, for the first time. */
static void rank(struct ws_shared *shared)
{
    struct link *lists[] = {&shared->open, &shared->busy, &shared->closing};
    ledger_rank(&shared->ledger);
    for (int i = 0; i < 3; i++)
        for (struct link *at = lists[i]->next; at != lists[i]; at = at->next)
            account_less(LIST_OF(at, struct ws, link));
}

/* A connection that is closing already has had its chance: if even its last frame is too much, it is reset.
 */
static void keep_budget(struct ws_shared *shared)
{
    if (shared->budget > 0 && !shared->ledger.ranked)
        rank(shared);
    while (shared->budget > 0 && shared->ledger.total > shared->budget) {
        const struct conn_work *most = LIST_OF(ledger_largest(&shared->ledger), struct conn_work, queued);
        struct ws *largest = ws_of(most->turn.owner);
        if (largest->state == WS_OPEN)
            ws_evict(largest, ERR_BUDGET);
        else
            ws_reset(largest, ERR_BUDGET);
    }
}

/* Whether the message is to be queued. */
static bool admit(struct ws *w, const struct cast *cast, uint64_t size)
{
    const struct ws_shared *shared = shared_of(w);
    switch (overflow_admit(&shared->overflow, conn_out(&w->conn), cast, size, conn_deflater(&w->conn) != NULL,
                           loop_now_ns(loop_of(w)))) {
    case OVERFLOW_ADMIT: return true;
    case OVERFLOW_DROP: break;
    case OVERFLOW_EVICT: ws_evict(w, ERR_MARK); break;
    }
    return false;
}

static void queue_frame(struct ws *w, struct cast *cast)
{
    struct blob *frame = conn_frame(&w->conn, cast, shared_of(w)->deflate_min, shared_of(w)->copy);
    if (admit(w, cast, frame->size)) {
        sendq_push(conn_out(&w->conn), frame);
        count_add(COUNT_deliveries_queued, 1);
    } else {
        blob_unref(frame);
    }
}

static void queue(struct ws *w, struct cast *cast)
{
    if (w->state != WS_OPEN || (ws_held(w) != NULL && !shared_of(w)->wants(shared_of(w), w, cast)))
        return;
    queue_frame(w, cast);
    ws_account(w);
    keep_budget(shared_of(w));
    ws_flush_later(w);
}

static void queue_burst(struct ws *w, struct burst *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->casts[i].except != &w->member)
            queue(w, &b->casts[i].cast);
}

/* The stream did not take all of what went past the queue: there is room under the mark, and the rest waits
 * as if it had been queued. Returns frames that left whole. */
static uint32_t queue_rest(struct ws *w, struct burst *b, size_t written)
{
    for (uint32_t i = 0; i < b->count; i++)
        sendq_push(conn_out(&w->conn),
                   conn_frame(&w->conn, &b->casts[i].cast, shared_of(w)->deflate_min, false));
    uint32_t frames = conn_took(&w->conn, written);
    ws_account(w);
    keep_budget(shared_of(w));
    return frames;
}

static struct blob *piece_of(const struct ws *w, struct burst *b)
{
    return burst_piece(b, w->conn.format, shared_of(w)->deflate_min);
}

/* Be it only what TLS had held back: then no bytes of the queue. */
static void count_written(struct ws *w, size_t bytes, uint32_t frames)
{
    w->wrote = true;
    count_add(COUNT_writes, bytes > 0);
    count_add(COUNT_bytes_written, bytes);
    count_add(COUNT_frames_written, frames);
}

static void settle_piece(struct ws *w, struct burst *b, size_t size, enum io io, size_t written)
{
    uint32_t frames = b->count;
    switch (io) {
    case IO_DONE:
    case IO_AGAIN: break;
    case IO_CLOSED:
    case IO_FAILED: ws_ended(w); return;
    }
    if (written < size || stream_unsent(&w->conn.stream))
        frames = queue_rest(w, b, written);
    count_add(COUNT_deliveries_queued, b->count);
    count_written(w, written, frames);
}

/* What was noted leaves, in one system call. */
static void settle_noted(struct ws_shared *shared, struct burst *b)
{
    if (shared->noted_count == 0)
        return;
    batch_flush();
    for (unsigned i = 0; i < shared->noted_count; i++) {
        struct ws *w = shared->noted[i].ws;
        int32_t outcome = shared->noted[i].outcome;
        if (w->state == WS_DEAD)
            continue;
        settle_piece(w, b, piece_of(w, b)->size, outcome < 0 ? stream_failure(-outcome) : IO_DONE,
                     outcome < 0 ? 0 : (size_t)outcome);
    }
    shared->noted_count = 0;
}

static void note(struct ws *w, struct burst *b, struct iovec piece)
{
    struct ws_shared *shared = shared_of(w);
    if (shared->noted_count == WS_NOTED_MAX)
        settle_noted(shared, b);
    shared->noted[shared->noted_count].ws = w;
    batch_send(w->conn.stream.fd, piece, &shared->noted[shared->noted_count++].outcome);
}

/* Whether it may go past the queue: then all of it is wanted, fits under the mark, and is the same for
 * others. */
static bool passes(const struct ws *w, const struct burst *b)
{
    const struct ws_shared *shared = shared_of(w);
    return conn_clear(&w->conn) && !shared->copy && !b->excepts && ws_held(w) == NULL;
}

void ws_deliver(struct member *m, struct burst *b)
{
    struct ws *w = LIST_OF(m, struct ws, member);
    struct ws_shared *shared = shared_of(w);
    if (w->state != WS_OPEN)
        return;
    const struct blob *blob = passes(w, b) ? piece_of(w, b) : NULL;
    if (blob == NULL || policy_over(&shared->overflow.policy, 0, blob->size)) {
        queue_burst(w, b);
        return;
    }
    struct iovec piece = {(void *)(uintptr_t)blob->bytes, blob->size};
    if (shared->owner.batch && w->conn.stream.tls == NULL) {
        note(w, b, piece);
        return;
    }
    size_t written = 0;
    enum io io = stream_write(&w->conn.stream, piece, &written);
    settle_piece(w, b, piece.iov_len, io, written);
}

void ws_send(struct ws *w, struct cast *cast)
{
    hub_settle_topic(shared_of(w)->hub, w->member.topic);
    queue(w, cast);
}

void ws_flush(struct ws *w)
{
    uint32_t frames;
    size_t bytes;
    if (!conn_flush(&w->conn, &frames, &bytes)) {
        ws_ended(w);
        return;
    }
    count_written(w, bytes, frames);
    if (bytes > 0)
        account_less(w);
    if (w->state == WS_CLOSING && conn_drained(&w->conn)) {
        if (w->evicted && frames > 0)
            count_add(COUNT_evictions_flushed, 1);
        if (w->input == INPUT_CLOSED)
            ws_die(w, false);
        else if (w->input == INPUT_IGNORED)
            stream_shutdown(&w->conn.stream);
    }
}

/* The hub hands out what it has before the connections are flushed, and those of them whose queues were empty
 * have nothing left to flush. */
static void on_due(struct hub_owner *owner)
{
    struct ws_shared *shared = LIST_OF(owner, struct ws_shared, hub_owner);
    loop_at_turn_end(shared->owner.loop, &shared->published);
}

static void on_published(struct turn *t)
{
    struct ws_shared *shared = LIST_OF(t, struct ws_shared, published);
    hub_settle(shared->hub);
    loop_at_turn_end(shared->owner.loop, &shared->settled);
}

static void on_handed(struct hub_owner *owner, struct burst *b)
{
    settle_noted(LIST_OF(owner, struct ws_shared, hub_owner), b);
}

void ws_fan_init(struct ws_shared *shared)
{
    shared->hub_owner = (struct hub_owner){.due = on_due, .handed = on_handed};
    hub_own(shared->hub, &shared->hub_owner);
    turn_init(&shared->published, on_published);
    turn_init(&shared->settled, on_settled);
}
