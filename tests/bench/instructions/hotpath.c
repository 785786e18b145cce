/* The way of a broadcast through the server, for callgrind to count: hotpath single|joined
 *
 * Subscribers on loopback that have been upgraded and read nothing, since all that is sent fits into their
 * sockets. single publishes a message a turn of the loop, joined ten. Prints how many were delivered; what is
 * to be counted happens in measured(). Fails when a delivery asks for memory or copies, as more than one in
 * FEW would have to; a message does, and what is put away by the clock comes back. */
#include "wsb.h"

#include <arpa/inet.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SUBSCRIBERS = 200, MESSAGES = 100, JOINED = 10, SIZE = 128, FEW = 20 };

static const char request[] = "GET /feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static uint64_t count_of(const char *name)
{
    uint64_t value = 0;
    wsb_count(name, &value);
    return value;
}

static void subscribe(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000001)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) {
        perror("subscribe");
        exit(1);
    }
}

static void broadcast(struct wsb_server *server, int at_once)
{
    char text[SIZE];
    memset(text, 'a', sizeof text);
    for (int n = 0; n < at_once; n++)
        wsb_server_publish(server, "/feed", text, sizeof text);
    ev_run(EV_DEFAULT, EVRUN_NOWAIT);
}

static __attribute__((noinline)) void measured(struct wsb_server *server, int at_once)
{
    for (int i = 0; i < MESSAGES; i += at_once)
        broadcast(server, at_once);
}

int main(int count, char **words)
{
    const char *settings[] = {"port=0", "ping_interval=0", NULL};
    char why[256];
    if (count != 2)
        return 64;
    struct wsb_server *server = wsb_server_new(EV_DEFAULT, settings, why, sizeof why);
    if (server == NULL) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (uint64_t i = 0; i < SUBSCRIBERS; i++) {
        subscribe(wsb_server_port(server));
        while (count_of("connections_open") <= i)
            ev_run(EV_DEFAULT, EVRUN_ONCE);
    }
    ev_run(EV_DEFAULT, EVRUN_NOWAIT);
    bool joined = strcmp(words[1], "joined") == 0;
    broadcast(server, joined ? JOINED : 1); /* what is kept from now on is there */
    uint64_t before = count_of("frames_written");
    uint64_t allocations = count_of("allocations"), copied = count_of("bytes_copied");
    measured(server, joined ? JOINED : 1);
    printf("%llu\n", (unsigned long long)(count_of("frames_written") - before));
    allocations = count_of("allocations") - allocations;
    copied = count_of("bytes_copied") - copied;
    wsb_server_free(server);
    if (allocations * FEW <= MESSAGES * SUBSCRIBERS && copied * FEW <= MESSAGES * SUBSCRIBERS * SIZE)
        return 0;
    fprintf(stderr, "%d messages to %d: %llu allocations, %llu bytes copied\n", MESSAGES, SUBSCRIBERS,
            (unsigned long long)allocations, (unsigned long long)copied);
    return 1;
}
