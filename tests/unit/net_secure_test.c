/* What goes through a stream that carries TLS. */
#include "tls_ends.h"

static void session(struct tls_options server, bool pinned)
{
    server.only_1_3 = pinned;
    struct tls_context *s = context(server), *c = context(trusting(s));
    static const size_t sizes[] = {0, 1, 125, 16383, 16384, 16385, 65536, MIB};
    static const size_t pieces[] = {7, 1000, 16384, 40000, MIB};
    struct ends e = try_ends(s, c);
    assert_int_equal(e.client_io, IO_DONE);
    assert_int_equal(e.server_io, IO_DONE);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            if (sizes[i] / pieces[k] > 10000)
                continue;
            pour(&e.server, &e.client, sizes[i], pieces[k], SIZE_MAX);
            pour(&e.client, &e.server, sizes[i], pieces[k], SIZE_MAX);
        }
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

static void data_goes_both_ways(void **state)
{
    (void)state;
    session(automatic, false);
    session(automatic, true);
}

static void plain_streams_know_no_tls(void **state)
{
    (void)state;
    struct ends e = plain_ends();
    assert_int_equal(stream_handshake(&e.client), IO_DONE);
    assert_false(stream_wants_write(&e.client));
    assert_false(stream_resumed(&e.client));
    pour(&e.client, &e.server, MIB, 5000, SIZE_MAX);
    assert_int_equal(stream_pending(&e.server), 0);
    close_ends(&e);
}

/* Fills the descriptor with what counts as written and forgets it at once. Returns how much. */
static size_t fill(struct stream *s)
{
    uint8_t part[5000];
    size_t put = 0, written = 0;
    for (;;) {
        for (size_t i = 0; i < sizeof part; i++)
            part[i] = nth(put + i);
        enum io io = write_some(s, part, sizeof part, &written);
        memset(part, 0xee, sizeof part);
        if (io == IO_AGAIN)
            break;
        assert_int_equal(io, IO_DONE);
        assert_int_equal(written, sizeof part);
        put += written;
    }
    assert_true(stream_unsent(s));
    return put;
}

static void written_bytes_may_be_forgotten(void **state)
{
    (void)state;
    for (int only_1_3 = 0; only_1_3 < 2; only_1_3++) {
        struct tls_options o = automatic;
        o.only_1_3 = only_1_3;
        struct tls_context *s = context(o), *c = context(trusting(s));
        struct ends e = try_ends(s, c);
        size_t written = 99;
        size_t put = fill(&e.server);
        size_t got = 0;
        assert_int_equal(stream_writev(&e.server, NULL, 0, &written), IO_AGAIN);
        for (int i = 0; i < 100 && stream_unsent(&e.server); i++) {
            got += read_on(&e.client, got, 3000);
            enum io io = stream_writev(&e.server, NULL, 0, &written);
            assert_true(io == IO_AGAIN || (io == IO_DONE && written == 0));
        }
        assert_false(stream_unsent(&e.server));
        got += read_on(&e.client, got, SIZE_MAX);
        assert_int_equal(got, put);
        pour(&e.server, &e.client, 1000, 10, SIZE_MAX);
        close_ends(&e);
        tls_context_free(c);
        tls_context_free(s);
    }
}

/* A short piece after a long one that waits, which OpenSSL would take for a bad retry. */
static void other_bytes_may_follow_those_that_wait(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic), *c = context(trusting(s));
    struct ends e = try_ends(s, c);
    size_t put = fill(&e.server), got = 0, written = 0;
    uint8_t one = nth(put);
    enum io io = IO_AGAIN;
    for (int i = 0; i < 100 && io == IO_AGAIN; i++) {
        got += read_on(&e.client, got, SIZE_MAX);
        io = write_some(&e.server, &one, 1, &written);
    }
    assert_int_equal(io, IO_DONE);
    assert_int_equal(written, 1);
    got += read_on(&e.client, got, SIZE_MAX);
    assert_int_equal(got, put + 1);
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

/* The answer to a key update is a record nobody wrote: it may neither be lost nor counted. */
static void keys_may_change_while_bytes_wait(void **state)
{
    (void)state;
    static uint8_t into[16384];
    struct tls_context *s = context(automatic);
    struct raw r;
    struct ends e = raw_ends(s, TLS1_3_VERSION, NULL, &r);
    uint8_t byte;
    size_t size = 0, got = 0;
    assert_int_equal(raw_shake(&r, &e), 1);
    size_t put = fill(&e.server);
    assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_write(r.ssl, "x", 1), 1);
    assert_int_equal(stream_read(&e.server, &byte, 1, &size), IO_DONE);
    for (int left = 3, result; left > 0;) {
        while ((result = SSL_read(r.ssl, into, sizeof into)) > 0)
            for (int i = 0; i < result; i++, got++)
                assert_int_equal(into[i], nth(got));
        assert_int_equal(SSL_get_error(r.ssl, result), SSL_ERROR_WANT_READ);
        byte = nth(put);
        enum io io = write_some(&e.server, &byte, 1, &size);
        assert_true(io == IO_DONE || io == IO_AGAIN);
        put += io == IO_DONE;
        left -= io == IO_DONE;
    }
    while (SSL_read(r.ssl, into, 1) == 1)
        assert_int_equal(into[0], nth(got++));
    assert_int_equal(got, put);
    raw_free(&r);
    close_ends(&e);
    tls_context_free(s);
}

static void renegotiation_is_refused(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic);
    struct raw r;
    char byte;
    size_t size = 0;
    struct ends e = raw_ends(s, TLS1_2_VERSION, NULL, &r);
    assert_int_equal(raw_shake(&r, &e), 1);
    SSL_renegotiate(r.ssl);
    SSL_do_handshake(r.ssl);
    enum io io = stream_read(&e.server, &byte, 1, &size);
    assert_true(io == IO_AGAIN || io == IO_FAILED);
    assert_int_not_equal(SSL_do_handshake(r.ssl), 1);
    raw_free(&r);
    close_ends(&e);
    tls_context_free(s);
}

static void small_reads_leave_the_rest_pending(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic), *c = context(trusting(s));
    struct ends e = try_ends(s, c);
    char text[] = "Hello", into[16];
    size_t size = 0;
    read_on(&e.client, 0, SIZE_MAX); /* the ticket */
    for (int i = 0; i < 3; i++)
        assert_int_equal(write_some(&e.server, text, 5, &size), IO_DONE);
    assert_int_equal(stream_pending(&e.client), 0);
    assert_int_equal(stream_read(&e.client, into, 2, &size), IO_DONE);
    assert_int_equal(size, 2);
    struct pollfd p = {.fd = e.client.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(stream_pending(&e.client), 3);
    assert_int_equal(stream_read(&e.client, into, 3, &size), IO_DONE);
    assert_int_equal(size, 3);
    assert_true(stream_pending(&e.client) > 0); /* the records behind */
    assert_int_equal(stream_read(&e.client, into, sizeof into, &size), IO_DONE);
    assert_int_equal(size, 10);
    assert_memory_equal(into, "HelloHello", 10);
    assert_int_equal(stream_pending(&e.client), 0);
    assert_int_equal(stream_read(&e.client, into, sizeof into, &size), IO_AGAIN);
    pour(&e.server, &e.client, 50000, 50000, 13);
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

/* What came along with the last of the handshake does not turn the descriptor readable. */
static void data_behind_the_handshake_is_pending(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic), *c = context(trusting(s));
    struct ends e = plain_ends();
    char into[16];
    size_t size = 0;
    assert_int_equal(stream_secure(&e.server, s), 0);
    assert_int_equal(stream_secure(&e.client, c), 0);
    assert_int_equal(stream_handshake(&e.client), IO_AGAIN);
    assert_false(stream_wants_write(&e.client));
    assert_int_equal(stream_handshake(&e.server), IO_AGAIN);
    assert_int_equal(stream_handshake(&e.client), IO_DONE);
    assert_int_equal(write_some(&e.client, "GET", 3, &size), IO_DONE);
    assert_int_equal(stream_handshake(&e.server), IO_DONE);
    assert_true(stream_pending(&e.server) > 0);
    assert_int_equal(stream_read(&e.server, into, sizeof into, &size), IO_DONE);
    assert_int_equal(size, 3);
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

static void an_end_is_reported_behind_the_data(void **state)
{
    (void)state;
    for (int orderly = 0; orderly < 2; orderly++) {
        struct tls_context *s = context(automatic), *c = context(trusting(s));
        struct ends e = try_ends(s, c);
        char into[16];
        size_t size = 0;
        assert_int_equal(write_some(&e.server, "bye", 3, &size), IO_DONE);
        if (orderly)
            stream_shutdown(&e.server);
        else
            stream_close(&e.server);
        assert_int_equal(stream_read(&e.client, into, sizeof into, &size), IO_DONE);
        assert_int_equal(size, 3);
        assert_int_equal(stream_read(&e.client, into, sizeof into, &size), IO_CLOSED);
        assert_int_equal(stream_read(&e.client, into, sizeof into, &size), IO_CLOSED);
        assert_int_equal(stream_pending(&e.client), 0);
        if (orderly) {
            assert_int_equal(write_some(&e.client, "yes", 3, &size), IO_DONE);
            assert_int_equal(stream_read(&e.server, into, sizeof into, &size), IO_DONE);
            assert_int_equal(size, 3);
        } else { /* and no SIGPIPE */
            assert_int_equal(write_some(&e.client, "yes", 3, &size), IO_FAILED);
            assert_string_equal(stream_error(&e.client), "Broken pipe");
        }
        close_ends(&e);
        tls_context_free(c);
        tls_context_free(s);
    }
}

static void an_end_waits_for_what_is_unsent(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic), *c = context(trusting(s));
    struct ends e = try_ends(s, c);
    size_t put = fill(&e.server), got = 0, written = 0;
    char byte;
    stream_shutdown(&e.server);
    for (int i = 0; i < 100 && stream_unsent(&e.server); i++) {
        char into[4096];
        while (stream_read(&e.client, into, sizeof into, &written) == IO_DONE)
            got += written;
        stream_writev(&e.server, NULL, 0, &written);
    }
    while (stream_read(&e.client, &byte, 1, &written) == IO_DONE)
        got++;
    assert_int_equal(got, put);
    assert_int_equal(stream_read(&e.client, &byte, 1, &written), IO_CLOSED);
    assert_int_equal(recv(e.client.fd, &byte, 1, 0), 0);
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

/* A flight larger than what the descriptor takes: the handshake waits until it is writable. */
static void handshakes_wait_for_a_full_descriptor(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic), *c = context(trusting(s));
    struct ends e = plain_ends();
    static char junk[4096];
    ssize_t stuffed = 0, size;
    assert_int_equal(stream_secure(&e.client, c), 0);
    while ((size = send(e.client.fd, junk, sizeof junk, 0)) > 0)
        stuffed += size;
    assert_int_equal(stream_handshake(&e.client), IO_AGAIN);
    assert_true(stream_wants_write(&e.client));
    assert_int_equal(stream_handshake(&e.client), IO_AGAIN);
    while (stuffed > 0) {
        size = recv(e.server.fd, junk, least((uint64_t)stuffed, sizeof junk), 0);
        assert_true(size > 0);
        stuffed -= size;
    }
    assert_int_equal(stream_secure(&e.server, s), 0);
    shake(&e);
    assert_int_equal(e.client_io, IO_DONE);
    pour(&e.client, &e.server, 1000, 1000, SIZE_MAX);
    close_ends(&e);
    tls_context_free(c);
    tls_context_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_goes_both_ways),
        cmocka_unit_test(plain_streams_know_no_tls),
        cmocka_unit_test(written_bytes_may_be_forgotten),
        cmocka_unit_test(other_bytes_may_follow_those_that_wait),
        cmocka_unit_test(keys_may_change_while_bytes_wait),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(small_reads_leave_the_rest_pending),
        cmocka_unit_test(data_behind_the_handshake_is_pending),
        cmocka_unit_test(an_end_is_reported_behind_the_data),
        cmocka_unit_test(an_end_waits_for_what_is_unsent),
        cmocka_unit_test(handshakes_wait_for_a_full_descriptor),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
