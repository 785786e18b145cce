/* Subscribers that only take: all that a server can send, without the price of looking at it.
 *
 *     sink PORT TARGET N FRAME
 *
 * N connections are upgraded one after the other; "open N" is printed when all are, and then, twenty times a
 * second, "NANOSECONDS FRAMES": when, and how many frames of so many bytes have come so far. */
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, HEAD_MAX = 4096, TAKE = 256 * 1024, TELL_MS = 50 };

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000001)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* Frames that come with the answer stay in the socket. */
static void upgrade(int fd, const char *target)
{
    char text[HEAD_MAX];
    int size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        target);
    if (send(fd, text, (size_t)size, MSG_NOSIGNAL) != size)
        exit(1);
    for (;;) {
        ssize_t got = recv(fd, text, sizeof text - 1, MSG_PEEK);
        if (got <= 0)
            exit(1);
        text[got] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        if (end == NULL)
            continue;
        recv(fd, text, (size_t)(end + 4 - text), MSG_WAITALL);
        if (strncmp(text, "HTTP/1.1 101 ", 13) != 0)
            exit(1);
        return;
    }
}

/* Takes what there is out of the socket; its bytes are not even copied. */
static uint64_t take(int fd)
{
    ssize_t got = recv(fd, NULL, TAKE, MSG_TRUNC | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        close(fd);
    return got > 0 ? (uint64_t)got : 0;
}

int main(int count, char **words)
{
    if (count != 5)
        return 64;
    uint16_t port = (uint16_t)atoi(words[1]);
    long n = atol(words[3]), frame = atol(words[4]);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t bytes = 0, told_ns = 0;
    if (frame <= 0)
        return 64;
    for (long i = 0; i < n; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = connect_to(port)};
        upgrade(event.data.fd, words[2]);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    printf("open %ld\n", n);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, TELL_MS);
        for (int i = 0; i < ready; i++)
            bytes += take(events[i].data.fd);
        uint64_t now_ns = clock_now_ns();
        if (now_ns - told_ns < TELL_MS * NS_PER_MS)
            continue;
        told_ns = now_ns;
        printf("%" PRIu64 " %" PRIu64 "\n", now_ns, bytes / (uint64_t)frame);
        fflush(stdout);
    }
}
