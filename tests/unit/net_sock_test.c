/* Sockets and the stream on top of them, against the real loopback. */
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/stream.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct sock_options plain;

struct pair {
    int listening, client, server;
    struct in6_addr from;
};

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static struct pair connect_pair(const char *host, const char *source, const struct sock_options *options)
{
    struct pair p;
    p.listening = sock_listen(host, 0, 8, options->receive_buffer);
    assert_true(p.listening >= 0);
    p.client = sock_connect(host, sock_port(p.listening), source, options);
    assert_true(p.client >= 0);
    wait_for(p.client, POLLOUT);
    assert_int_equal(sock_error(p.client), 0);
    wait_for(p.listening, POLLIN);
    p.server = sock_accept(p.listening, options, &p.from);
    assert_true(p.server >= 0);
    return p;
}

static void close_pair(const struct pair *p)
{
    close(p->client);
    close(p->server);
    close(p->listening);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void localhost_and_numeric_addresses_connect(void **state)
{
    (void)state;
    const char *hosts[] = {"127.0.0.1", "localhost", "127.1.2.3"};
    for (size_t i = 0; i < 3; i++) {
        struct pair p = connect_pair(hosts[i], NULL, &plain);
        assert_true(sock_established(p.client));
        assert_true(sock_established(p.server));
        close_pair(&p);
    }
}

static void ipv6_connects_and_is_named_in_brackets(void **state)
{
    (void)state;
    int probe = sock_listen("::1", 0, 1, 0);
    if (probe < 0) {
        print_message("[  SKIPPED ] no IPv6 loopback here: %s\n", strerror(errno));
        skip();
    }
    close(probe);
    struct pair p = connect_pair("::1", NULL, &plain);
    char name[SOCK_NAME_MAX], expected[SOCK_NAME_MAX];
    sock_peer_name(p.server, name);
    snprintf(expected, sizeof(expected), "[::1]:%d", sock_port(p.client));
    assert_string_equal(name, expected);
    close_pair(&p);
}

static void other_hosts_are_refused(void **state)
{
    (void)state;
    const char *hosts[] = {"", "example.com", "127.1", "0x7f000001", "1.2.3.4.5", "[::1]", "127.0.0.1:80"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        assert_int_equal(sock_listen(hosts[i], 0, 1, 0), ERR_OPTION_VALUE);
        assert_int_equal(sock_connect(hosts[i], 1, NULL, &plain), ERR_OPTION_VALUE);
    }
}

static void a_port_in_use_says_so(void **state)
{
    (void)state;
    int first = sock_listen("127.0.0.1", 0, 1, 0);
    errno = 0;
    assert_int_equal(sock_listen("127.0.0.1", sock_port(first), 1, 0), ERR_SYSTEM);
    assert_int_equal(errno, EADDRINUSE);
    close(first);
}

static void descriptors_are_nonblocking_and_close_on_exec(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    const int fds[] = {p.listening, p.client, p.server};
    for (size_t i = 0; i < 3; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(option(fds[i], IPPROTO_TCP, TCP_NODELAY));
    }
    assert_true(option(p.listening, SOL_SOCKET, SO_REUSEADDR));
    close_pair(&p);
}

/* The listening socket has the receive buffer alone: what it hands on could not be taken back by a later
 * option. */
static void options_reach_both_ends(void **state)
{
    (void)state;
    const struct sock_options options = {
        .send_buffer = 32768, .receive_buffer = 16384, .notsent_lowat = 8192};
    struct pair p = connect_pair("127.0.0.1", NULL, &options);
    const int fds[] = {p.client, p.server};
    assert_int_equal(option(p.listening, SOL_SOCKET, SO_RCVBUF), 2 * 16384);
    assert_int_not_equal(option(p.listening, SOL_SOCKET, SO_SNDBUF), 2 * 32768);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(option(fds[i], SOL_SOCKET, SO_SNDBUF), 2 * 32768);
        assert_int_equal(option(fds[i], SOL_SOCKET, SO_RCVBUF), 2 * 16384);
        assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_NOTSENT_LOWAT), 8192);
    }
    close_pair(&p);
}

static void absurd_sizes_are_the_kernels_to_clamp(void **state)
{
    (void)state;
    const struct sock_options options = {.send_buffer = UINT64_MAX, .receive_buffer = 1ULL << 40};
    struct pair p = connect_pair("127.0.0.1", NULL, &options);
    assert_true(option(p.client, SOL_SOCKET, SO_SNDBUF) > 65536);
    assert_true(option(p.server, SOL_SOCKET, SO_SNDBUF) > 65536);
    assert_true(option(p.server, SOL_SOCKET, SO_RCVBUF) > 65536);
    close_pair(&p);
}

static void nobody_to_accept_is_eagain(void **state)
{
    (void)state;
    struct in6_addr from;
    int fd = sock_listen("127.0.0.1", 0, 1, 0);
    assert_int_equal(sock_accept(fd, &plain, &from), -EAGAIN);
    close(fd);
}

static void the_accept_queue_can_be_seen(void **state)
{
    (void)state;
    uint32_t length = 9, limit = 9;
    struct in6_addr from;
    int listening = sock_listen("127.0.0.1", 0, 5, 0);
    int client[2];
    for (int i = 0; i < 2; i++) {
        client[i] = sock_connect("127.0.0.1", sock_port(listening), NULL, &plain);
        wait_for(client[i], POLLOUT);
    }
    sock_accept_queue(listening, &length, &limit);
    assert_int_equal(length, 2);
    assert_int_equal(limit, 5);
    int server = sock_accept(listening, &plain, &from);
    sock_accept_queue(listening, &length, &limit);
    assert_int_equal(length, 1);
    close(server);
    close(client[0]);
    close(client[1]);
    close(listening);
    sock_accept_queue(-1, &length, &limit);
    assert_int_equal(length + limit, 0);
}

static void a_port_is_shared_by_those_who_agree(void **state)
{
    (void)state;
    int first = sock_listen_shared("127.0.0.1", 0, 1, 0);
    int second = sock_listen_shared("127.0.0.1", sock_port(first), 1, 0);
    assert_true(first >= 0 && second >= 0);
    assert_int_equal(sock_listen("127.0.0.1", sock_port(first), 1, 0), ERR_SYSTEM);
    close(second);
    close(first);
}

static void a_refused_connection_says_so_at_once_or_later(void **state)
{
    (void)state;
    int listening = sock_listen("127.0.0.1", 0, 1, 0);
    uint16_t port = sock_port(listening);
    close(listening);
    int fd = sock_connect("127.0.0.1", port, NULL, &plain);
    if (fd < 0) {
        assert_int_equal(fd, ERR_SYSTEM);
        assert_int_equal(errno, ECONNREFUSED);
        return;
    }
    wait_for(fd, POLLOUT);
    assert_int_equal(sock_error(fd), ECONNREFUSED);
    assert_false(sock_established(fd));
    close(fd);
}

static void the_source_address_is_where_it_comes_from(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", "127.9.8.7", &plain);
    char name[SOCK_NAME_MAX], expected[SOCK_NAME_MAX];
    sock_peer_name(p.server, name);
    snprintf(expected, sizeof(expected), "127.9.8.7:%d", sock_port(p.client));
    assert_string_equal(name, expected);
    assert_int_equal(option(p.client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
    close_pair(&p);
}

static void a_source_that_is_no_address_is_refused(void **state)
{
    (void)state;
    assert_int_equal(sock_connect("127.0.0.1", 1, "here", &plain), ERR_OPTION_VALUE);
    assert_int_equal(sock_connect("127.0.0.1", 1, "8.8.8.8", &plain), ERR_SYSTEM);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static void what_is_no_socket_has_no_name_and_no_port(void **state)
{
    (void)state;
    char name[SOCK_NAME_MAX];
    sock_peer_name(-1, name);
    assert_string_equal(name, "?");
    assert_int_equal(sock_port(-1), 0);
    assert_int_equal(sock_error(-1), EBADF);
    assert_false(sock_established(-1));
}

static void a_peer_that_ended_is_seen_without_reading(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    assert_int_equal(write(p.client, "unread", 6), 6);
    shutdown(p.client, SHUT_WR);
    wait_for(p.server, POLLRDHUP | POLLIN);
    assert_false(sock_established(p.server));
    assert_true(sock_established(p.client)); /* our end only: the server is still there */
    close_pair(&p);
}

static void closing_with_reset_forgets_what_is_queued(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    sock_reset_on_close(p.server);
    close(p.server);
    wait_for(p.client, POLLHUP);
    assert_int_equal(sock_error(p.client), ECONNRESET);
    assert_false(sock_established(p.client));
    close(p.client);
    close(p.listening);
}

/* Nobody reads: what was written is the reader's kernel memory and then the sender's. */
static void unread_bytes_show_in_the_memory(void **state)
{
    (void)state;
    const struct sock_options small = {.send_buffer = 65536, .receive_buffer = 4096};
    struct pair p = connect_pair("127.0.0.1", NULL, &small);
    struct sock_memory before = {0}, sender = {0}, reader = {0};
    sock_memory(p.server, &before);
    assert_int_equal(before.out_queue, 0);

    struct stream s = {.fd = p.server};
    static char bytes[65536];
    struct iovec v = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    size_t total = 0, size;
    while (stream_writev(&s, &v, 1, &size) == IO_DONE)
        total += size;
    sock_memory(p.server, &sender);
    sock_memory(p.client, &reader);
    assert_in_range(sender.out_queue, 1, total);
    assert_true(sender.kernel >= sender.out_queue);
    assert_true(reader.kernel > 0);
    close_pair(&p);
}

static void no_socket_holds_nothing(void **state)
{
    (void)state;
    struct sock_memory m = {1, 1};
    sock_memory(-1, &m);
    assert_int_equal(m.out_queue, 0);
    assert_int_equal(m.kernel, 0);
}

static void a_stream_carries_what_was_gathered(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    struct stream from = {.fd = p.client}, into = {.fd = p.server};
    char hello[] = "hello ", world[] = "world", got[32];
    const struct iovec v[] = {{hello, 6}, {world, 5}};
    size_t size = 77;
    assert_int_equal(stream_read(&into, got, sizeof(got), &size), IO_AGAIN);
    assert_int_equal(size, 77);
    assert_int_equal(stream_writev(&from, v, 2, &size), IO_DONE);
    assert_int_equal(size, 11);
    wait_for(p.server, POLLIN);
    assert_int_equal(stream_read(&into, got, sizeof(got), &size), IO_DONE);
    assert_int_equal(size, 11);
    assert_memory_equal(got, "hello world", 11);
    close_pair(&p);
}

static void after_shutdown_the_far_end_reads_the_rest_and_then_the_end(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    struct stream from = {.fd = p.client}, into = {.fd = p.server};
    char text[] = "last", got[8];
    const struct iovec v = {text, 4};
    size_t size;
    assert_int_equal(stream_writev(&from, &v, 1, &size), IO_DONE);
    stream_shutdown(&from);
    wait_for(p.server, POLLRDHUP);
    assert_int_equal(stream_read(&into, got, sizeof(got), &size), IO_DONE);
    assert_int_equal(size, 4);
    assert_int_equal(stream_read(&into, got, sizeof(got), &size), IO_CLOSED);
    close_pair(&p);
}

/* SIGPIPE would end the test. */
static void writing_to_a_reset_connection_fails_without_a_signal(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    sock_reset_on_close(p.server);
    close(p.server);
    wait_for(p.client, POLLHUP);
    struct stream s = {.fd = p.client};
    char text[] = "x";
    const struct iovec v = {text, 1};
    size_t size = 77;
    assert_int_equal(stream_writev(&s, &v, 1, &size), IO_FAILED);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(stream_writev(&s, &v, 1, &size), IO_FAILED);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(size, 77);
    close(p.client);
    close(p.listening);
}

static void a_stream_may_be_closed_twice(void **state)
{
    (void)state;
    struct pair p = connect_pair("127.0.0.1", NULL, &plain);
    struct stream s = {.fd = p.client};
    stream_close(&s);
    assert_int_equal(s.fd, -1);
    assert_int_equal(fcntl(p.client, F_GETFD), -1);
    stream_close(&s);
    close(p.server);
    close(p.listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(localhost_and_numeric_addresses_connect),
        cmocka_unit_test(ipv6_connects_and_is_named_in_brackets),
        cmocka_unit_test(other_hosts_are_refused),
        cmocka_unit_test(a_port_in_use_says_so),
        cmocka_unit_test(descriptors_are_nonblocking_and_close_on_exec),
        cmocka_unit_test(options_reach_both_ends),
        cmocka_unit_test(absurd_sizes_are_the_kernels_to_clamp),
        cmocka_unit_test(nobody_to_accept_is_eagain),
        cmocka_unit_test(a_refused_connection_says_so_at_once_or_later),
        cmocka_unit_test(the_accept_queue_can_be_seen),
        cmocka_unit_test(a_port_is_shared_by_those_who_agree),
        cmocka_unit_test(the_source_address_is_where_it_comes_from),
        cmocka_unit_test(a_source_that_is_no_address_is_refused),
        cmocka_unit_test(what_is_no_socket_has_no_name_and_no_port),
        cmocka_unit_test(a_peer_that_ended_is_seen_without_reading),
        cmocka_unit_test(closing_with_reset_forgets_what_is_queued),
        cmocka_unit_test(unread_bytes_show_in_the_memory),
        cmocka_unit_test(no_socket_holds_nothing),
        cmocka_unit_test(a_stream_carries_what_was_gathered),
        cmocka_unit_test(after_shutdown_the_far_end_reads_the_rest_and_then_the_end),
        cmocka_unit_test(writing_to_a_reset_connection_fails_without_a_signal),
        cmocka_unit_test(a_stream_may_be_closed_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
