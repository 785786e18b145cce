/* What the socket calls themselves cost: a broadcast that does nothing else.
 *
 *     floor PORT RATE SIZE [send|joined|uring]
 *
 * send: one send() for each message and subscriber. joined: all messages that are due leave in one send() a
 * subscriber. uring: as send, many sends a system call. It reads nothing but the upgrade, and what a socket
 * does not take is left out (never within a frame). */
#include "beat.h"
#include "ring.h"

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/upgrade.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, JOINED_MAX = 64, HEAD_MAX = 4096 };

struct subscriber {
    int fd;
    bool open; /* has been upgraded */
    uint32_t index;
    size_t rest_size; /* of a frame that has left in part */
    uint8_t *rest;
};

static struct {
    enum mode { SEND, JOINED, URING } mode;
    int epoll_fd, listen_fd;
    struct beat beat;
    struct ring *ring;
    struct subscriber **all; /* those that are open */
    uint32_t count, capacity;
    struct slice out; /* what ring_submit is sending */
} the;

static void watch(int fd, void *owner)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
    if (epoll_ctl(the.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        exit(1);
}

static uint16_t listen_on(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000001)}};
    socklen_t size = sizeof at;
    the.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(the.listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(the.listen_fd, (struct sockaddr *)&at, size) < 0 || listen(the.listen_fd, 4096) < 0 ||
        getsockname(the.listen_fd, (struct sockaddr *)&at, &size) < 0) {
        perror("listen");
        exit(1);
    }
    return ntohs(at.sin_port);
}

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(the.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct subscriber *s = mem_zero(sizeof *s);
        s->fd = fd;
        watch(fd, s);
    }
}

static void drop(struct subscriber *s)
{
    if (s->open) {
        the.all[s->index] = the.all[--the.count];
        the.all[s->index]->index = s->index;
    }
    close(s->fd);
    free(s->rest);
    free(s);
}

/* The request has to come in one piece, which on loopback it does. */
static bool upgrade(struct subscriber *s, const char *at, size_t size)
{
    static const struct http1_limits limits = {HEAD_MAX, HTTP1_HEADERS_MAX};
    struct http1_head head;
    struct buf answer = {0};
    if (http1_request(at, size, &limits, NULL, &head) <= 0 || upgrade_check_request(&head) < 0)
        return false;
    upgrade_accept(&head, (struct slice){0}, (struct slice){0}, &answer);
    bool sent = send(s->fd, answer.at, answer.size, MSG_NOSIGNAL) == (ssize_t)answer.size;
    buf_free(&answer);
    if (the.count == the.capacity) {
        the.capacity = the.capacity ? the.capacity * 2 : 1024;
        the.all = mem_resize(the.all, the.capacity * sizeof(struct subscriber *));
    }
    s->open = true;
    s->index = the.count;
    the.all[the.count++] = s;
    return sent;
}

static void read_from(struct subscriber *s)
{
    char bytes[HEAD_MAX];
    ssize_t got = recv(s->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || (!s->open && !upgrade(s, bytes, (size_t)got)))
        drop(s);
}

/* Keeps what is to follow of a frame that has left in part; frames behind it are left out. */
static void keep_rest(struct subscriber *s, ssize_t sent)
{
    size_t frame = the.beat.size + frame_head_size(the.beat.size, false);
    size_t partial = sent > 0 ? (size_t)sent % frame : 0;
    if (partial == 0)
        return;
    s->rest_size = frame - partial;
    s->rest = mem_resize(s->rest, s->rest_size);
    memcpy(s->rest, the.out.at + sent, s->rest_size);
}

static bool send_rest(struct subscriber *s)
{
    ssize_t sent = send(s->fd, s->rest, s->rest_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return false;
    s->rest_size -= (size_t)sent;
    memmove(s->rest, s->rest + sent, s->rest_size);
    return s->rest_size == 0;
}

static void on_sent(void *owner, int sent)
{
    keep_rest(owner, sent);
}

static void broadcast(struct slice out)
{
    the.out = out;
    for (uint32_t i = 0, noted = 0; i < the.count; i++) {
        struct subscriber *s = the.all[i];
        if (s->rest_size > 0 && !send_rest(s))
            continue;
        if (the.mode == URING) {
            ring_send(the.ring, s->fd, out.at, out.size, s);
            if (++noted % RING_ENTRIES == 0)
                ring_submit(the.ring, on_sent);
            continue;
        }
        ssize_t sent = send(s->fd, out.at, out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != (ssize_t)out.size)
            keep_rest(s, sent);
    }
    if (the.mode == URING)
        ring_submit(the.ring, on_sent);
}

static void publish_due(void)
{
    static uint8_t *bytes;
    struct frame_head head = {.fin = true, .opcode = FRAME_TEXT, .length = the.beat.size};
    uint8_t head_bytes[FRAME_HEAD_MAX];
    size_t head_size = frame_write(&head, head_bytes), frame = head_size + the.beat.size, used = 0;
    if (bytes == NULL)
        bytes = mem_alloc(frame * JOINED_MAX);
    /* Not for ever: who wants to come in or leave waits meanwhile. */
    for (int n = 0; n < JOINED_MAX && beat_due(&the.beat, bytes + used + head_size); n++) {
        memcpy(bytes + used, head_bytes, head_size);
        used += frame;
        if (the.mode == JOINED)
            continue;
        broadcast((struct slice){(const char *)bytes, used});
        used = 0;
    }
    if (used > 0)
        broadcast((struct slice){(const char *)bytes, used});
}

static bool read_mode(const char *word)
{
    if (word == NULL || strcmp(word, "send") == 0)
        return true;
    the.mode = strcmp(word, "joined") == 0 ? JOINED : URING;
    if (the.mode == JOINED || strcmp(word, "uring") != 0)
        return the.mode == JOINED;
    the.ring = ring_new();
    if (the.ring == NULL)
        perror("io_uring not available");
    return the.ring != NULL;
}

static void turn(void)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(the.epoll_fd, events, EVENTS, -1);
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == &the.listen_fd)
            accept_all();
        else if (events[i].data.ptr == &the.beat)
            publish_due();
        else
            read_from(events[i].data.ptr);
}

int main(int count, char **words)
{
    uint16_t port;
    if (!beat_read(words, &port, &the.beat) || !read_mode(count > 4 ? words[4] : NULL))
        return 64;
    the.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    port = listen_on(port);
    watch(the.listen_fd, &the.listen_fd);
    beat_announce(&the.beat, "ws", port);
    watch(the.beat.timer_fd, &the.beat);
    for (;;)
        turn();
}
