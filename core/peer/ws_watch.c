#include "peer/ws_parts.h"

#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/tick.h"

void ws_set_kernel(struct ws *w, struct sock_memory now)
{
    uint32_t out_queue = (uint32_t)least(now.out_queue, UINT32_MAX);
    uint32_t kernel = (uint32_t)least(now.kernel, UINT32_MAX);
    count_add(COUNT_kernel_queue_bytes, (uint64_t)out_queue - w->out_queue);
    count_add(COUNT_kernel_socket_bytes, (uint64_t)kernel - w->kernel);
    w->out_queue = out_queue;
    w->kernel = kernel;
}

void ws_set_slow(struct ws *w, bool slow)
{
    if (slow == w->slow)
        return;
    w->slow = slow;
    if (slow)
        count_add(COUNT_slow_clients, 1);
    else
        count_sub(COUNT_slow_clients, 1);
    count_peak(COUNT_slow_clients_peak, count_get(COUNT_slow_clients));
}

void ws_set_busy(struct ws *w, bool busy)
{
    struct ws_shared *shared = shared_of(w);
    if (busy == w->busy)
        return;
    w->busy = busy;
    shared->busy_count += busy ? 1 : UINT64_MAX;
    list_append(busy ? &shared->busy : &shared->open, &w->link);
}

static void keep_alive(struct ws *w, uint64_t now_ns)
{
    const struct ws_shared *shared = shared_of(w);
    uint64_t silent_ns = tick_age_ns(w->heard, now_ns);
    if (shared->ping_interval_ns == 0 || silent_ns < shared->ping_interval_ns)
        return;
    if (!w->pinged) {
        w->pinged = true;
        ws_push_urgent(w, FRAME_PING, "", 0);
    } else if (silent_ns >= shared->ping_interval_ns + shared->ping_timeout_ns) {
        ws_log(w, LOG_INFO, "close", ERR_TIMEOUT);
        count_add(COUNT_ping_timeouts, 1);
        ws_abandon(w);
        ws_close_for(w, ERR_TIMEOUT);
    }
}

/* Clients that take too long over a message, or say nothing for too long. */
static void keep_deadlines(struct ws *w, uint64_t now_ns)
{
    uint64_t since_ns = conn_incoming_since_ns(&w->conn);
    uint64_t idle_ns = shared_of(w)->idle_timeout_ns;
    bool late = since_ns > 0 && now_ns - since_ns >= shared_of(w)->message_timeout_ns;
    if (w->state == WS_OPEN && (late || (idle_ns > 0 && tick_age_ns(w->spoke, now_ns) >= idle_ns)))
        ws_break_off(w, ERR_TIMEOUT);
}

/* The kernel has nothing of those to whom nothing has been written since it had sent all. */
static void look_into_kernel(struct ws *w)
{
    struct sock_memory now = {0};
    if (!w->wrote)
        return;
    sock_memory(w->conn.stream.fd, &now);
    ws_set_kernel(w, now);
    w->wrote = now.out_queue > 0;
}

static void look_at(struct ws *w, uint64_t now_ns)
{
    look_into_kernel(w);
    conn_rest(&w->conn); /* not after each flush: a feed would have to take it again at once */
    ws_set_busy(w, w->out_queue > 0 || conn_queued(&w->conn) > 0);
    ws_set_slow(w, conn_age_ns(&w->conn, now_ns) > shared_of(w)->slow_after_ns);
    keep_alive(w, now_ns);
    keep_deadlines(w, now_ns);
}

static void look_at_first(struct link *list, uint64_t most, uint64_t now_ns)
{
    for (; most > 0 && !list_empty(list); most--) {
        struct link *at = list->next;
        list_append(list, at);
        look_at(LIST_OF(at, struct ws, link), now_ns);
    }
}

void ws_sample(struct ws_shared *shared, uint64_t busy, uint64_t others)
{
    uint64_t now_ns = loop_now_ns(shared->owner.loop);
    ws_trim(now_ns);
    look_at_first(&shared->busy, least(busy, shared->busy_count), now_ns);
    look_at_first(&shared->open, least(others, shared->open_count), now_ns);
}

void ws_expire(struct ws_shared *shared)
{
    uint64_t now_ns = loop_now_ns(shared->owner.loop);
    while (!list_empty(&shared->closing)) {
        struct ws *w = LIST_OF(shared->closing.next, struct ws, link);
        if (tick_age_ns(w->closing, now_ns) < shared->evict_grace_ns)
            return;
        ws_reset(w, ERR_TIMEOUT);
    }
}

struct ws *ws_first_open(struct ws_shared *shared)
{
    struct link *at = list_empty(&shared->open) ? shared->busy.next : shared->open.next;
    return at != &shared->busy ? LIST_OF(at, struct ws, link) : NULL;
}
