/* The way of a broadcast through the server, for callgrind to count: hotpath single|joined
 *
 * Subscribers on loopback that have been upgraded and read nothing, since all that is sent fits into their
 * sockets. single publishes a message a turn of the loop, joined ten. Prints how many were delivered; what is
 * to be counted happens in measured(). */
#include "wsb.h"

#include <arpa/inet.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SUBSCRIBERS = 200, MESSAGES = 100, JOINED = 10, SIZE = 128 };

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

static __attribute__((noinline)) void measured(struct wsb_server *server, int at_once)
{
    char text[SIZE];
    memset(text, 'a', sizeof text);
    for (int i = 0; i < MESSAGES; i += at_once) {
        for (int n = 0; n < at_once; n++)
            wsb_server_publish(server, "/feed", text, sizeof text);
        ev_run(EV_DEFAULT, EVRUN_NOWAIT);
    }
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
    uint64_t before = count_of("frames_written");
    measured(server, strcmp(words[1], "joined") == 0 ? JOINED : 1);
    printf("%llu\n", (unsigned long long)(count_of("frames_written") - before));
    wsb_server_free(server);
    return 0;
}
