/* TCP sockets: making them, their options, and what the kernel holds for them. All are non-blocking,
 * close-on-exec and TCP_NODELAY. Unix sockets only to connect to. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Room for "[ipv6]:port". */
enum { SOCK_NAME_MAX = 64 };

struct sock_options {
    uint64_t send_buffer;    /* SO_SNDBUF in bytes, 0 leaves it to the kernel */
    uint64_t receive_buffer; /* SO_RCVBUF in bytes, 0 leaves it to the kernel */
    uint64_t notsent_lowat;  /* TCP_NOTSENT_LOWAT in bytes, 0 leaves it to the kernel */
};

/* Listening descriptor, or ERR_SYSTEM with errno set, or ERR_OPTION_VALUE when host is no numeric address nor
 * "localhost". port 0: the kernel chooses, see sock_port. receive_buffer: SO_RCVBUF of what it accepts, in
 * bytes, 0 leaves it to the kernel; it has to be known before, since the window scale depends on it. */
int sock_listen(const char *host, uint16_t port, int backlog, uint64_t receive_buffer);
/* The same with SO_REUSEPORT: sockets of one user that are all made so share the port's new connections. */
int sock_listen_shared(const char *host, uint16_t port, int backlog, uint64_t receive_buffer);
/* How many connections wait to be accepted, and how many may (tcpi_unacked, tcpi_sacked of a listening
 * socket); both 0 where that cannot be told. */
void sock_accept_queue(int listening, uint32_t *ret_length, uint32_t *ret_limit);
/* The next connection; -EAGAIN and the like come back as -errno. options->receive_buffer does not count here.
 * ret_from: the client's address, an IPv4 one mapped (::ffff:a.b.c.d). */
int sock_accept(int listening, const struct sock_options *options, struct in6_addr *ret_from);
/* Begins to connect: a descriptor that turns writable when done (then ask sock_error), or ERR_SYSTEM with
 * errno, or ERR_OPTION_VALUE. source: a local IPv4 address to come from, or NULL; bound without a port
 * (IP_BIND_ADDRESS_NO_PORT), so that the ephemeral range counts per source and destination. */
int sock_connect(const char *host, uint16_t port, const char *source, const struct sock_options *options);
/* The same to a unix socket: ERR_SYSTEM also when its backlog is full (EAGAIN), ERR_OPTION_VALUE when the
 * path is longer than an address holds. */
int sock_connect_unix(const char *path);
/* Whether the functions above take it for a host. */
bool sock_is_address(const char *host);
/* The pending error (SO_ERROR), 0 when connected. */
int sock_error(int fd);

uint16_t sock_port(int fd);
/* The far end's "address:port". */
void sock_peer_name(int fd, char name[SOCK_NAME_MAX]);
/* From when on the kernel gives the connection up if the peer acknowledges nothing, also after close(): else
 * what a stalled peer has not taken stays in the kernel for minutes. */
void sock_give_up_after(int fd, uint64_t time_ns);
/* Makes close() send a reset and forget what is queued. Plain close keeps a stalled peer's queue in the
 * kernel for minutes. */
void sock_reset_on_close(int fd);
/* false once the far end is gone (reset, closed, timed out), even if nobody reads: TCP_INFO. */
bool sock_established(int fd);

struct sock_memory {
    uint64_t out_queue; /* bytes sent or to be sent that the peer has not acknowledged (SIOCOUTQ) */
    uint64_t kernel;    /* kernel memory charged to the socket, both directions (SO_MEMINFO) */
};
void sock_memory(int fd, struct sock_memory *ret_memory);
