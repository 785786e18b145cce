#include "net/sock.h"

#include "base/clock.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int address_parse(const char *host, uint16_t port, union address *ret_address, socklen_t *ret_size)
{
    union address a = {0};
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, numeric, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
        *ret_size = sizeof(a.v4);
    } else if (inet_pton(AF_INET6, numeric, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        *ret_size = sizeof(a.v6);
    } else {
        errno = EINVAL;
        return ERR_OPTION_VALUE;
    }
    *ret_address = a;
    return 0;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

/* Sizes beyond an int are as good as its maximum: the kernel clamps to its own limits anyway. */
static int set_size(int fd, int level, int name, uint64_t size)
{
    if (size == 0)
        return 0;
    return set_int(fd, level, name, size > INT_MAX ? INT_MAX : (int)size);
}

static int apply_sending(int fd, const struct sock_options *options)
{
    if (set_size(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer) < 0 ||
        set_size(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, options->notsent_lowat) < 0)
        return ERR_SYSTEM;
    return 0;
}

/* For the error path: the errno that matters is the one from before. */
static int close_failed(int fd, int err)
{
    int why = errno;
    close(fd);
    errno = why;
    return err;
}

/* The receive buffer is set before listen and connect: the handshake chooses the window scale from it. What a
 * listening socket is set to here, those that it accepts inherit. */
static int open_socket(int family, uint64_t receive_buffer)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    if (set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        set_size(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer) < 0)
        return close_failed(fd, ERR_SYSTEM);
    return fd;
}

static int listen_at(const char *host, uint16_t port, int backlog, uint64_t receive_buffer, bool shared)
{
    union address address;
    socklen_t size;
    int err = address_parse(host, port, &address, &size);
    if (err < 0)
        return err;

    int fd = open_socket(address.any.sa_family, receive_buffer);
    if (fd < 0)
        return fd;
    if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 || set_int(fd, SOL_SOCKET, SO_REUSEPORT, shared) < 0 ||
        bind(fd, &address.any, size) < 0 || listen(fd, backlog) < 0)
        return close_failed(fd, ERR_SYSTEM);
    return fd;
}

int sock_listen(const char *host, uint16_t port, int backlog, uint64_t receive_buffer)
{
    return listen_at(host, port, backlog, receive_buffer, false);
}

int sock_listen_shared(const char *host, uint16_t port, int backlog, uint64_t receive_buffer)
{
    return listen_at(host, port, backlog, receive_buffer, true);
}

void sock_accept_queue(int listening, uint32_t *ret_length, uint32_t *ret_limit)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &size);
    *ret_length = info.tcpi_unacked;
    *ret_limit = info.tcpi_sacked;
}

static struct in6_addr mapped(const union address *a)
{
    if (a->any.sa_family == AF_INET6)
        return a->v6.sin6_addr;
    struct in6_addr v6 = {.s6_addr = {[10] = 0xFF, [11] = 0xFF}};
    memcpy(v6.s6_addr + 12, &a->v4.sin_addr, sizeof a->v4.sin_addr);
    return v6;
}

int sock_accept(int listening, const struct sock_options *options, struct in6_addr *ret_from)
{
    union address from = {0};
    socklen_t size = sizeof from;
    int fd = accept4(listening, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (apply_sending(fd, options) < 0)
        return close_failed(fd, -errno);
    *ret_from = mapped(&from);
    return fd;
}

static int bind_source(int fd, const char *source)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, source, &from.sin_addr) != 1) {
        errno = EINVAL;
        return ERR_OPTION_VALUE;
    }
    if (set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) < 0 ||
        bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
        return ERR_SYSTEM;
    return 0;
}

int sock_connect(const char *host, uint16_t port, const char *source, const struct sock_options *options)
{
    union address address;
    socklen_t size;
    int err = address_parse(host, port, &address, &size);
    if (err < 0)
        return err;

    int fd = open_socket(address.any.sa_family, options->receive_buffer);
    if (fd < 0)
        return fd;
    err = apply_sending(fd, options);
    if (err == 0 && source)
        err = bind_source(fd, source);
    if (err < 0)
        return close_failed(fd, err);
    if (connect(fd, &address.any, size) < 0 && errno != EINPROGRESS)
        return close_failed(fd, ERR_SYSTEM);
    return fd;
}

int sock_connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return ERR_OPTION_VALUE;
    }
    memcpy(address.sun_path, path, size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return close_failed(fd, ERR_SYSTEM);
    return fd;
}

bool sock_is_address(const char *host)
{
    union address address;
    socklen_t size;
    return address_parse(host, 0, &address, &size) == 0;
}

int sock_error(int fd)
{
    int pending = 0;
    socklen_t size = sizeof(pending);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &size) < 0)
        return errno;
    return pending;
}

uint16_t sock_port(int fd)
{
    union address a = {0};
    socklen_t size = sizeof(a);
    if (getsockname(fd, &a.any, &size) < 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

void sock_peer_name(int fd, char name[SOCK_NAME_MAX])
{
    union address a = {0};
    socklen_t size = sizeof(a);
    char text[INET6_ADDRSTRLEN];
    if (getpeername(fd, &a.any, &size) < 0)
        snprintf(name, SOCK_NAME_MAX, "?");
    else if (a.any.sa_family == AF_INET6)
        snprintf(name, SOCK_NAME_MAX, "[%s]:%d", inet_ntop(AF_INET6, &a.v6.sin6_addr, text, sizeof(text)),
                 ntohs(a.v6.sin6_port));
    else
        snprintf(name, SOCK_NAME_MAX, "%s:%d", inet_ntop(AF_INET, &a.v4.sin_addr, text, sizeof(text)),
                 ntohs(a.v4.sin_port));
}

void sock_give_up_after(int fd, uint64_t time_ns)
{
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(time_ns / NS_PER_MS) + 1);
}

void sock_reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

bool sock_established(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return false;
    /* In the FIN_WAITs it is our side that has ended; the far end is still there. */
    return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_FIN_WAIT1 ||
           info.tcpi_state == TCP_FIN_WAIT2;
}

void sock_memory(int fd, struct sock_memory *ret_memory)
{
    int out_queue = 0;
    uint32_t held[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(held);
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, held, &size);
    /* Most have nothing there, and need not be asked how much. */
    if (held[SK_MEMINFO_WMEM_QUEUED] > 0 && ioctl(fd, SIOCOUTQ, &out_queue) < 0)
        out_queue = 0;

    ret_memory->out_queue = (uint64_t)out_queue;
    /* WMEM_ALLOC is left out: for TCP it counts clones on their way down, whose data is in WMEM_QUEUED. */
    ret_memory->kernel = (uint64_t)held[SK_MEMINFO_RMEM_ALLOC] + held[SK_MEMINFO_WMEM_QUEUED] +
                         held[SK_MEMINFO_FWD_ALLOC] + held[SK_MEMINFO_OPTMEM];
}
