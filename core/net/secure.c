#include "net/secure.h"

#include "base/buf.h"
#include "net/tls.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    RECORD_MAX = SSL3_RT_MAX_PLAIN_LENGTH,
    /* Records of ours are written one at a time; more can only be answers to a peer that does not read. */
    REST_MAX = 64 * 1024,
    GROWTH_MIN = 64,
    STRAGGLERS = 8
};

struct secure {
    SSL *ssl;
    struct buf rest; /* encrypted, for the descriptor */
    int fd;
    int error;            /* errno of the descriptor, 0: not its fault */
    unsigned long reason; /* OpenSSL's */
    enum io end;          /* IO_DONE as long as there is none */
    bool drained;         /* the descriptor had less than was asked for */
    bool more;            /* to be read, though the descriptor may not say so */
    bool arrived;         /* the handshake is over */
    bool ending;          /* our side ends once the rest has left */
};

static bool is_again(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

/* Bytes that the descriptor took, 0 when it is full, -1 with s->error. */
static ssize_t put(struct secure *s, const void *from, size_t size)
{
    ssize_t sent;
    do
        sent = send(s->fd, from, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (is_again(errno))
        return 0;
    s->error = errno;
    return -1;
}

static int bio_write(BIO *b, const char *from, int size)
{
    struct secure *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t sent = s->rest.size == 0 ? put(s, from, (size_t)size) : 0;
    if (sent < 0)
        return -1;
    if (s->rest.size > REST_MAX) {
        s->error = ENOBUFS;
        return -1;
    }
    if (sent < size)
        buf_append(&s->rest, from + sent, (size_t)(size - sent));
    return size;
}

/* The end of the stream is 0 without BIO_eof: OpenSSL would take that for an attack and give up the session.
 */
static int bio_read(BIO *b, char *into, int size)
{
    struct secure *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t got;
    do
        got = recv(s->fd, into, (size_t)size, 0);
    while (got < 0 && errno == EINTR);
    s->drained = got < size;
    if (got >= 0)
        return (int)got;
    if (is_again(errno))
        BIO_set_retry_read(b);
    else
        s->error = errno;
    return -1;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static atomic_size_t ends, under_way, ends_trimmed;

/* A handshake takes 50 KiB for a moment. Of many at a time these lie between what stays, and leave holes as
 * large as that: half of the heap. The kernel gets them back when a crowd has come in; one that comes and
 * goes without growing finds its holes again. */
static void give_back(void)
{
    size_t now = ends, before = ends_trimmed;
    bool grown = now >= before + GROWTH_MIN;
    if (under_way > STRAGGLERS)
        return;
    if (grown || now < before)
        ends_trimmed = now;
    if (grown)
        malloc_trim(0);
}

/* The handshake is over, one way or the other. */
static void arrive(struct secure *s)
{
    if (s->arrived)
        return;
    s->arrived = true;
    under_way--;
    give_back();
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wsb");
    if (method == NULL)
        return;
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

struct secure *secure_new(int fd, struct tls_context *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    ERR_clear_error();
    SSL *ssl = tls_context_end(c);
    BIO *bio = ssl != NULL && method != NULL ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        return NULL;
    }
    struct secure *s = mem_zero(sizeof *s);
    ends++;
    under_way++;
    s->fd = fd;
    s->ssl = ssl;
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return s;
}

void secure_free(struct secure *s)
{
    /* As if both had said goodbye: else OpenSSL holds the session for spoilt and does not resume it. */
    SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(s->ssl);
    ends--;
    arrive(s);
    buf_free(&s->rest);
    free(s);
}

/* What a result of OpenSSL that is not good means. */
static enum io verdict(struct secure *s, int result)
{
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return s->end = IO_CLOSED;
    default: break;
    }
    s->reason = ERR_peek_error();
    if (s->reason == 0 && s->error == 0)
        return s->end = IO_CLOSED;
    errno = s->error != 0 ? s->error : EPROTO;
    return s->end = IO_FAILED;
}

static enum io flush(struct secure *s)
{
    while (s->rest.size > 0) {
        ssize_t sent = put(s, s->rest.at, s->rest.size);
        if (sent < 0)
            return s->end = IO_FAILED;
        if (sent == 0)
            return IO_AGAIN;
        buf_consume(&s->rest, (size_t)sent);
    }
    buf_free(&s->rest);
    if (s->ending)
        shutdown(s->fd, SHUT_WR);
    return IO_DONE;
}

enum io secure_handshake(struct secure *s)
{
    if (s->end != IO_DONE)
        return s->end;
    enum io io = flush(s);
    if (io != IO_DONE)
        return io;
    ERR_clear_error();
    int result = SSL_do_handshake(s->ssl);
    if (result != 1)
        return verdict(s, result);
    s->more = SSL_has_pending(s->ssl);
    arrive(s);
    return s->rest.size > 0 ? IO_AGAIN : IO_DONE;
}

bool secure_resumed(const struct secure *s)
{
    return SSL_session_reused(s->ssl) == 1;
}

const char *secure_error(const struct secure *s)
{
    static _Thread_local char text[160];
    long wrong = SSL_get_verify_result(s->ssl);
    const char *reason = ERR_reason_error_string(s->reason);
    if (s->error != 0)
        return strerror(s->error);
    if (s->end == IO_CLOSED)
        return "the far end closed the connection";
    if (reason == NULL)
        return "TLS failed";
    if (ERR_GET_REASON(s->reason) != SSL_R_CERTIFICATE_VERIFY_FAILED)
        return reason;
    snprintf(text, sizeof text, "%s: %s", reason, X509_verify_cert_error_string(wrong));
    return text;
}

enum io secure_read(struct secure *s, void *into, size_t size, size_t *ret_size)
{
    size_t got = 0;
    if (s->end != IO_DONE) {
        s->more = false;
        return s->end;
    }
    do {
        ERR_clear_error();
        int result = SSL_read(s->ssl, (char *)into + got, (int)least(size - got, INT_MAX));
        if (result <= 0) {
            enum io io = verdict(s, result);
            s->more = got > 0 && io != IO_AGAIN;
            if (got == 0)
                return io;
            *ret_size = got;
            return IO_DONE;
        }
        got += (size_t)result;
    } while (got < size && (SSL_has_pending(s->ssl) || !s->drained));
    s->more = SSL_has_pending(s->ssl);
    *ret_size = got;
    return IO_DONE;
}

size_t secure_pending(const struct secure *s)
{
    int whole = SSL_pending(s->ssl);
    return whole > 0 ? (size_t)whole : s->more;
}

struct cursor {
    const struct iovec *at, *end;
    size_t skip; /* of the first */
};

/* The bytes of the next record: where they are if that is in one piece, else put together in `scratch`. */
static struct slice next_record(struct cursor *c, char scratch[RECORD_MAX])
{
    struct slice record = {scratch, 0};
    while (c->at < c->end && record.size < RECORD_MAX) {
        const char *from = (const char *)c->at->iov_base + c->skip;
        size_t there = c->at->iov_len - c->skip;
        size_t size = least(there, RECORD_MAX - record.size);
        if (record.size == 0 && (size == RECORD_MAX || c->at + 1 == c->end))
            record.at = from;
        else if (size > 0)
            memcpy(scratch + record.size, from, size);
        record.size += size;
        c->skip += size;
        if (size == there) {
            c->at++;
            c->skip = 0;
        }
    }
    return record;
}

enum io secure_writev(struct secure *s, const struct iovec *vector, int count, size_t *ret_size)
{
    char scratch[RECORD_MAX];
    struct cursor cursor = {vector, vector + count, 0};
    struct slice record;
    size_t written = 0;
    if (s->end == IO_FAILED)
        return IO_FAILED;
    enum io io = flush(s);
    if (io != IO_DONE)
        return io;
    while (s->rest.size == 0 && (record = next_record(&cursor, scratch)).size > 0) {
        ERR_clear_error();
        int result = SSL_write(s->ssl, record.at, (int)record.size);
        if (result <= 0) {
            io = verdict(s, result);
            if (io != IO_AGAIN || written == 0)
                return io;
            break;
        }
        written += (size_t)result;
    }
    *ret_size = written;
    return IO_DONE;
}

bool secure_unsent(const struct secure *s)
{
    return s->rest.size > 0;
}

void secure_shutdown(struct secure *s)
{
    s->ending = true;
    if (s->end != IO_FAILED && SSL_is_init_finished(s->ssl)) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
    }
    flush(s);
}
