/* Two servers on one port: the first drains while clients keep coming, and nobody meets a closed door. */
#include "wsb.h"

#include <arpa/inet.h>
#include <ev.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 240, DRAIN_AT = 80 };

static struct ev_loop *loop;
static bool drained;
static char why[256];

static struct wsb_server *serve(const char *port)
{
    const char *settings[] = {port, "reuse_port=true", "reconnect_window=15s", "drain_window=100ms", NULL};
    struct wsb_server *server = wsb_server_new(loop, settings, why, sizeof why);
    if (server == NULL)
        fail_msg("%s", why);
    return server;
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

/* Connected, and asked. */
static int client(uint16_t port)
{
    static const char request[] = "GET /feed HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    return fd;
}

/* What has come so far, as text. */
static size_t receive(int fd, char *text, size_t have, size_t room)
{
    ssize_t got = recv(fd, text + have, room - have - 1, MSG_DONTWAIT);
    have += got > 0 ? (size_t)got : 0;
    text[have] = '\0';
    return have;
}

static int status_of(int fd)
{
    char text[512] = "";
    size_t have = 0;
    while (strstr(text, "\r\n\r\n") == NULL) {
        ev_run(loop, EVRUN_NOWAIT);
        have = receive(fd, text, have, sizeof text);
    }
    int status = atoi(text + strlen("HTTP/1.1 "));
    if (status == 503)
        assert_non_null(strstr(text, "\r\nRetry-After: "));
    return status;
}

static void a_drained_server_s_clients_go_to_its_successor(void **state)
{
    (void)state;
    char port[32];
    int fd[CLIENTS], upgraded = 0, refused = 0;
    struct wsb_server *old = serve("port=0");
    snprintf(port, sizeof port, "port=%u", wsb_server_port(old));
    struct wsb_server *successor = serve(port);
    for (int i = 0; i < CLIENTS; i++) {
        if (i == DRAIN_AT) /* with what has come since the loop last turned still in the accept queues */
            wsb_server_drain(old, set_flag, &drained);
        fd[i] = client(wsb_server_port(successor));
        if (i % 40 == 0)
            ev_run(loop, EVRUN_NOWAIT);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int status = status_of(fd[i]);
        upgraded += status == 101;
        refused += status == 503;
        assert_true(i < DRAIN_AT || status == 101);
    }
    assert_int_equal(upgraded + refused, CLIENTS);
    assert_true(refused > 0);
    for (int i = 0; i < CLIENTS; i++)
        close(fd[i]);
    while (!drained)
        ev_run(loop, EVRUN_ONCE);
    wsb_server_free(old);
    wsb_server_free(successor);
}

int main(void)
{
    alarm(30);
    loop = ev_loop_new(EVFLAG_AUTO);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_drained_server_s_clients_go_to_its_successor)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ev_loop_destroy(loop);
    return failed;
}
