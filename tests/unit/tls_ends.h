/* Two ends of a TLS stream in one process, over a socketpair with nonblocking descriptors. */
#pragma once
#include "net/stream.h"
#include "net/tls.h"

#include "base/bytes.h"
#include "base/err.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MIB = 1024 * 1024 };

static char dir[] = "/tmp/wsb-tls-XXXXXX";

/* Files of the test's own directory. */
static const char *path(const char *name)
{
    static char text[16][128];
    static unsigned next;
    char *at = text[next++ % 16];
    snprintf(at, sizeof text[0], "%s/%s", dir, name);
    return at;
}

static inline void write_file(const char *name, const char *content)
{
    FILE *f = fopen(path(name), "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static inline struct tls_context *context(struct tls_options options)
{
    char why[256] = "";
    struct tls_context *c = tls_context_new(&options, why, sizeof why);
    if (c == NULL)
        fail_msg("%s", why);
    return c;
}

static const struct tls_options automatic = {.server = true, .certificate = "auto", .resume = true};

/* Trusts what the server has. */
static inline struct tls_options trusting(const struct tls_context *server)
{
    write_file("trusted.pem", tls_context_certificate(server));
    return (struct tls_options){
        .ca = path("trusted.pem"), .name = "localhost", .verify = true, .resume = true};
}

struct ends {
    struct stream server, client;
    enum io server_io, client_io; /* how the handshake ended */
};

static inline struct ends plain_ends(void)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    return (struct ends){.server = {fd[0]}, .client = {fd[1]}, .server_io = IO_AGAIN, .client_io = IO_AGAIN};
}

/* Both ends in turns until neither has anything to wait for. */
static inline void shake(struct ends *e)
{
    for (int turn = 0; turn < 100; turn++) {
        if (e->client_io == IO_AGAIN)
            e->client_io = stream_handshake(&e->client);
        if (e->server_io == IO_AGAIN)
            e->server_io = stream_handshake(&e->server);
        if (e->client_io != IO_AGAIN && e->server_io != IO_AGAIN)
            return;
    }
}

static inline struct ends try_ends(struct tls_context *server, struct tls_context *client)
{
    struct ends e = plain_ends();
    assert_int_equal(stream_secure(&e.server, server), 0);
    assert_int_equal(stream_secure(&e.client, client), 0);
    shake(&e);
    return e;
}

static inline void close_ends(struct ends *e)
{
    stream_close(&e->server);
    stream_close(&e->client);
}

static inline enum io write_some(struct stream *s, const void *from, size_t size, size_t *ret_size)
{
    struct iovec v = {(void *)(uintptr_t)from, size};
    return stream_writev(s, &v, 1, ret_size);
}

/* Byte `i` of any stream here. */
static inline uint8_t nth(size_t i)
{
    return (uint8_t)(i * 2654435761U >> 13);
}

/* What there is to read: checks that it goes on behind `seen`, and returns how much. */
static inline size_t read_on(struct stream *s, size_t seen, size_t most)
{
    static uint8_t into[256 * 1024];
    size_t size = 0, got = 0;
    enum io io;
    while ((io = stream_read(s, into, least(most, sizeof into), &size)) == IO_DONE) {
        for (size_t i = 0; i < size; i++)
            if (into[i] != nth(seen + got + i))
                fail_msg("byte %zu is wrong", seen + got + i);
        got += size;
    }
    assert_int_equal(io, IO_AGAIN);
    return got;
}

/* `size` bytes, in pieces of `piece` (several to a vector), read `most` at a time. */
static inline void pour(struct stream *from, struct stream *to, size_t size, size_t piece, size_t most)
{
    static uint8_t bytes[MIB];
    size_t put = 0, got = 0;
    for (size_t i = 0; i < size; i++)
        bytes[i] = nth(i);
    while (got < size) {
        struct iovec v[16];
        size_t at = put, written = 0;
        int count = 0;
        for (; count < 16 && at < size; count++) {
            size_t part = least(size - at, piece);
            v[count] = (struct iovec){bytes + at, part};
            at += part;
        }
        enum io io = stream_writev(from, v, count, &written);
        assert_true(io == IO_DONE || io == IO_AGAIN);
        put += io == IO_DONE ? written : 0;
        got += read_on(to, got, most);
    }
    assert_int_equal(got, size);
    assert_false(stream_unsent(from));
}

/* One end by OpenSSL itself: for what ours does not do. */
struct raw {
    SSL_CTX *context;
    SSL *ssl;
};

static inline struct raw raw_client(int fd, int version, const char *alpn)
{
    struct raw r = {.context = SSL_CTX_new(TLS_client_method())};
    assert_non_null(r.context);
    SSL_CTX_set_max_proto_version(r.context, version);
    r.ssl = SSL_new(r.context);
    SSL_set_fd(r.ssl, fd);
    SSL_set_mode(r.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    if (alpn != NULL)
        SSL_set_alpn_protos(r.ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_set_connect_state(r.ssl);
    return r;
}

static inline void raw_free(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->context);
}

/* 1 through, 0 refused, with the error in OpenSSL's queue. */
static inline int raw_shake(const struct raw *r, struct ends *e)
{
    ERR_clear_error();
    for (int turn = 0; turn < 100; turn++) {
        int result = SSL_do_handshake(r->ssl);
        if (result != 1 && SSL_get_error(r->ssl, result) != SSL_ERROR_WANT_READ)
            return 0;
        if (e->server_io == IO_AGAIN)
            e->server_io = stream_handshake(&e->server);
        if (result == 1 && e->server_io == IO_DONE)
            return 1;
    }
    return 0;
}

static inline struct ends raw_ends(struct tls_context *server, int version, const char *alpn,
                                   struct raw *ret_raw)
{
    struct ends e = plain_ends();
    assert_int_equal(stream_secure(&e.server, server), 0);
    *ret_raw = raw_client(e.client.fd, version, alpn);
    return e;
}

static inline int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static inline int remove_dir(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command); /* NOLINT(cert-env33-c): no input from outside */
}
