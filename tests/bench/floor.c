/* What the socket calls themselves cost: a broadcast that does nothing else.
 *
 *     floor PORT RATE SIZE [WAY]
 *
 * The ways to send are the table `ways`; the first when none is named. It reads nothing but the upgrade, and
 * what a socket does not take is left out (never within a frame). */
#include "beat.h"

#include "base/buf.h"
#include "net/batch.h"
#include "wire/frame.h"
#include "wire/upgrade.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, JOINED_MAX = 64, HEAD_MAX = 4096, BUSY_POLL_US = 50, PIPE_SIZE = 1 << 20 };

struct subscriber {
    int fd;
    bool open; /* has been upgraded */
    uint32_t index;
    int32_t sent;     /* by the ring */
    size_t rest_size; /* of a frame that has left in part */
    uint8_t *rest;
};

/* A way to send. What is NULL or 0 is not needed. */
struct way {
    const char *name;
    bool joined; /* all that is due leaves in one piece */
    bool lends;  /* the kernel reads the bytes after the call, and says on the error queue when it has */
    int option, value;  /* of SOL_SOCKET, for each subscriber */
    bool (*have)(void); /* false: not on this kernel, and why has been printed */
    void (*begin)(struct slice out);
    void (*transmit)(struct subscriber *s, struct slice out);
    void (*end)(void);
};

static struct {
    const struct way *way;
    int epoll_fd, listen_fd;
    struct beat beat;
    struct subscriber **all; /* those that are open */
    uint32_t count, capacity;
    struct slice out;         /* what is being sent */
    int original[2], copy[2]; /* pipes: the message, and what is on its way to a socket */
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
        if (the.way->option != 0 &&
            setsockopt(fd, SOL_SOCKET, the.way->option, &the.way->value, sizeof the.way->value) < 0) {
            perror("setsockopt");
            exit(1);
        }
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

/* What the kernel says of bytes that it was lent: a range of sends a message. */
static void read_notices(const struct subscriber *s)
{
    char notice[CMSG_SPACE(sizeof(struct sock_extended_err)) + CMSG_SPACE(sizeof(struct sockaddr_in))];
    struct msghdr message = {.msg_control = notice, .msg_controllen = sizeof notice};
    while (recvmsg(s->fd, &message, MSG_ERRQUEUE) >= 0)
        message.msg_controllen = sizeof notice;
}

static void send_plain(struct subscriber *s, struct slice out)
{
    ssize_t sent = send(s->fd, out.at, out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent != (ssize_t)out.size)
        keep_rest(s, sent);
}

/* A copy where the process may not pin more, or has too many notices waiting. */
static void send_lent(struct subscriber *s, struct slice out)
{
    ssize_t sent = send(s->fd, out.at, out.size, MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == ENOBUFS)
        send_plain(s, out);
    else if (sent != (ssize_t)out.size)
        keep_rest(s, sent);
}

static bool tee_have(void)
{
    static const int flags = O_CLOEXEC | O_NONBLOCK;
    bool done = pipe2(the.original, flags) == 0 && pipe2(the.copy, flags) == 0 &&
                fcntl(the.original[1], F_SETPIPE_SZ, PIPE_SIZE) > 0 &&
                fcntl(the.copy[1], F_SETPIPE_SZ, PIPE_SIZE) > 0;
    if (!done)
        perror("pipes not available");
    return done;
}

static void empty_pipe(int fd)
{
    static char nobody[HEAD_MAX];
    while (read(fd, nobody, sizeof nobody) > 0) {
    }
}

/* The pages of the pipe are its own: nothing is written over while a socket still holds them. */
static void tee_begin(struct slice out)
{
    if (write(the.original[1], out.at, out.size) == (ssize_t)out.size)
        return;
    perror("a pipe does not hold the message");
    exit(1);
}

static void send_tee(struct subscriber *s, struct slice out)
{
    tee(the.original[0], the.copy[1], out.size, SPLICE_F_NONBLOCK);
    ssize_t sent = splice(the.copy[0], NULL, s->fd, NULL, out.size, SPLICE_F_NONBLOCK);
    if (sent == (ssize_t)out.size)
        return;
    empty_pipe(the.copy[0]);
    keep_rest(s, sent);
}

static void tee_end(void)
{
    empty_pipe(the.original[0]);
}

static bool ring_have(void)
{
    if (batch_open() == 0)
        return true;
    perror("io_uring not available");
    return false;
}

static void send_noted(struct subscriber *s, struct slice out)
{
    batch_send(s->fd, (struct iovec){(void *)(uintptr_t)out.at, out.size}, &s->sent);
}

static void ring_end(void)
{
    batch_flush();
    for (uint32_t i = 0; i < the.count; i++) {
        keep_rest(the.all[i], the.all[i]->sent);
        the.all[i]->sent = 0; /* the next time it may be left out */
    }
}

static const struct way ways[] = {
    /* one send() for each message and subscriber */
    {.name = "send", .transmit = send_plain},
    /* all messages that are due in one send() a subscriber */
    {.name = "joined", .joined = true, .transmit = send_plain},
    /* as send, many sends a system call */
    {.name = "uring", .have = ring_have, .transmit = send_noted, .end = ring_end},
    /* MSG_ZEROCOPY; on loopback the kernel copies all the same */
    {.name = "zerocopy", .lends = true, .option = SO_ZEROCOPY, .value = 1, .transmit = send_lent},
    /* SO_BUSY_POLL; loopback has no receive queue to spin in */
    {.name = "busy", .option = SO_BUSY_POLL, .value = BUSY_POLL_US, .transmit = send_plain},
    /* tee() of a pipe that holds the message, splice() to the socket: two calls, but no copy */
    {.name = "tee", .have = tee_have, .begin = tee_begin, .transmit = send_tee, .end = tee_end},
};

static void broadcast(struct slice out)
{
    the.out = out;
    if (the.way->begin != NULL)
        the.way->begin(out);
    for (uint32_t i = 0; i < the.count; i++)
        if (the.all[i]->rest_size == 0 || send_rest(the.all[i]))
            the.way->transmit(the.all[i], out);
    if (the.way->end != NULL)
        the.way->end();
}

static void publish_due(void)
{
    static uint8_t *room;
    struct frame_head head = {.fin = true, .opcode = FRAME_TEXT, .length = the.beat.size};
    uint8_t head_bytes[FRAME_HEAD_MAX];
    size_t head_size = frame_write(&head, head_bytes), frame = head_size + the.beat.size, used = 0;
    if (room == NULL)
        room = mem_alloc(frame * JOINED_MAX);
    /* What is lent is written over JOINED_MAX messages later, read or not: figures only. */
    uint8_t *bytes = room;
    /* Not for ever: who wants to come in or leave waits meanwhile. */
    for (int n = 0; n < JOINED_MAX; n++) {
        if (the.way->lends)
            bytes = room + the.beat.sequence % JOINED_MAX * frame;
        if (!beat_due(&the.beat, bytes + used + head_size))
            break;
        memcpy(bytes + used, head_bytes, head_size);
        used += frame;
        if (the.way->joined)
            continue;
        broadcast((struct slice){(const char *)bytes, used});
        used = 0;
    }
    if (used > 0)
        broadcast((struct slice){(const char *)bytes, used});
}

static bool read_way(const char *word)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (word == NULL || strcmp(word, ways[i].name) == 0) {
            the.way = &ways[i];
            return the.way->have == NULL || the.way->have();
        }
    return false;
}

static void on_subscriber(struct subscriber *s, uint32_t events)
{
    if ((events & EPOLLERR) != 0 && the.way->lends)
        read_notices(s);
    if ((events & (EPOLLIN | EPOLLHUP)) != 0)
        read_from(s);
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
            on_subscriber(events[i].data.ptr, events[i].events);
}

int main(int count, char **words)
{
    uint16_t port;
    if (!read_way(count > 4 ? words[4] : NULL) || !beat_read(words, &port, &the.beat))
        return 64;
    the.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    port = listen_on(port);
    watch(the.listen_fd, &the.listen_fd);
    beat_announce(&the.beat, "ws", port);
    watch(the.beat.timer_fd, &the.beat);
    for (;;)
        turn();
}
