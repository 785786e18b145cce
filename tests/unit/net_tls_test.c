/* Who gets a TLS stream: versions, protocols, sessions, certificates. */
#include "tls_ends.h"

/* A self-signed pair of the openssl program: NAME.pem, NAME.key and both in NAME.both. */
static void make_pair(const char *name, const char *kind, const char *more)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && openssl req -x509 -newkey %s -nodes -keyout %s.key -out %s.pem -subj /CN=%s "
             "-addext subjectAltName=DNS:localhost,DNS:*.example.org %s 2>/dev/null && "
             "cat %s.key %s.pem >%s.both",
             dir, kind, name, name, name, more, name, name, name);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): no input from outside */
}

static void versions_are_1_2_and_1_3(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    for (int only_1_3 = 0; only_1_3 < 2; only_1_3++)
        for (int i = 0; i < 3; i++) {
            struct tls_options o = automatic;
            struct raw r;
            o.only_1_3 = only_1_3;
            struct tls_context *s = context(o);
            struct ends e = raw_ends(s, versions[i], NULL, &r);
            int expected = i > only_1_3 ? 1 : 0;
            assert_int_equal(raw_shake(&r, &e), expected);
            if (expected)
                assert_int_equal(SSL_version(r.ssl), versions[i]);
            raw_free(&r);
            close_ends(&e);
            tls_context_free(s);
        }
}

static void alpn_is_http_1_1_or_nothing(void **state)
{
    (void)state;
    const unsigned char *chosen = NULL;
    unsigned size = 0;
    struct tls_context *s = context(automatic);
    struct raw r;
    struct ends e = raw_ends(s, TLS1_3_VERSION, "\2h2\10http/1.1", &r);
    assert_int_equal(raw_shake(&r, &e), 1);
    SSL_get0_alpn_selected(r.ssl, &chosen, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    raw_free(&r);
    close_ends(&e);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        e = raw_ends(s, version, "\2h2", &r);
        assert_int_equal(raw_shake(&r, &e), 0);
        assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        assert_int_equal(e.server_io, IO_FAILED);
        assert_string_equal(stream_error(&e.server), "no application protocol");
        assert_int_equal(stream_handshake(&e.server), IO_FAILED);
        raw_free(&r);
        close_ends(&e);
    }
    tls_context_free(s);
}

/* Whether the second of two connections resumes; the first is closed as rudely as can be. */
static bool resumes(struct tls_context *server, struct tls_context *client)
{
    struct ends e = try_ends(server, client);
    assert_int_equal(e.client_io, IO_DONE);
    pour(&e.server, &e.client, 10, 10, SIZE_MAX);
    stream_close(&e.server);
    char byte;
    size_t size;
    assert_int_equal(stream_read(&e.client, &byte, 1, &size), IO_CLOSED);
    stream_close(&e.client);
    e = try_ends(server, client);
    assert_int_equal(e.client_io, IO_DONE);
    pour(&e.server, &e.client, 10, 10, SIZE_MAX);
    bool resumed = stream_resumed(&e.client);
    assert_int_equal(stream_resumed(&e.server), resumed);
    close_ends(&e);
    return resumed;
}

static void sessions_resume(void **state)
{
    (void)state;
    for (int server = 0; server < 2; server++)
        for (int client = 0; client < 2; client++) {
            struct tls_options o = automatic;
            o.resume = server;
            struct tls_context *s = context(o);
            o = trusting(s);
            o.resume = client;
            struct tls_context *c = context(o);
            assert_int_equal(resumes(s, c), server && client);
            assert_int_equal(resumes(s, c), server && client);
            tls_context_free(c);
            tls_context_free(s);
        }
}

/* The second has no ticket of its own yet when the third begins. */
static void many_resume_with_one_ticket(void **state)
{
    (void)state;
    for (int only_1_3 = 0; only_1_3 < 2; only_1_3++) {
        struct tls_options o = automatic;
        o.only_1_3 = only_1_3;
        struct tls_context *s = context(o);
        o = trusting(s);
        o.only_1_2 = !only_1_3;
        struct tls_context *c = context(o);
        struct ends e[3];
        for (size_t i = 0; i < 3; i++) {
            e[i] = try_ends(s, c);
            assert_int_equal(e[i].client_io, IO_DONE);
            assert_int_equal(stream_resumed(&e[i].client), i > 0);
            if (i == 0)
                pour(&e[i].server, &e[i].client, 10, 10, SIZE_MAX);
        }
        for (size_t i = 0; i < 3; i++) {
            pour(&e[i].server, &e[i].client, 10, 10, SIZE_MAX);
            close_ends(&e[i]);
        }
        tls_context_free(c);
        tls_context_free(s);
    }
}

static SSL_SESSION *raw_session;

static int raw_keep(SSL *ssl, SSL_SESSION *got)
{
    (void)ssl;
    SSL_SESSION_free(raw_session);
    raw_session = got;
    return 1;
}

/* By tickets alone in both versions; without them there is not even a session id to come back with. */
static void tickets_resume_in_both_versions(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (int tickets = 0; tickets < 2; tickets++) {
            struct tls_options o = automatic;
            o.resume = tickets;
            struct tls_context *s = context(o);
            for (int turn = 0; turn < 2; turn++) {
                struct raw r;
                char byte;
                struct ends e = raw_ends(s, version, NULL, &r);
                SSL_CTX_set_session_cache_mode(r.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
                SSL_CTX_sess_set_new_cb(r.context, raw_keep);
                if (raw_session != NULL)
                    SSL_set_session(r.ssl, raw_session);
                assert_int_equal(raw_shake(&r, &e), 1);
                assert_int_equal(SSL_read(r.ssl, &byte, 1), -1);
                assert_int_equal(SSL_session_reused(r.ssl), turn && tickets);
                assert_int_equal(stream_resumed(&e.server), turn && tickets);
                assert_int_equal(raw_session != NULL, tickets);
                SSL_set_shutdown(r.ssl, SSL_SENT_SHUTDOWN);
                raw_free(&r);
                close_ends(&e);
            }
            SSL_SESSION_free(raw_session);
            raw_session = NULL;
            tls_context_free(s);
        }
}

static void expect_refusal(struct tls_context *server, struct tls_options client, const char *words)
{
    struct tls_context *c = context(client);
    struct ends e = try_ends(server, c);
    if (words == NULL) {
        assert_int_equal(e.client_io, IO_DONE);
    } else {
        assert_int_equal(e.client_io, IO_FAILED);
        assert_string_equal(stream_error(&e.client), words);
        assert_int_equal(stream_handshake(&e.client), IO_FAILED);
        /* The server learns it by an alert. */
        char byte;
        size_t size = 0;
        assert_int_equal(stream_read(&e.server, &byte, 1, &size), IO_FAILED);
        assert_non_null(strstr(stream_error(&e.server), "alert"));
    }
    close_ends(&e);
    tls_context_free(c);
}

static void certificates_are_verified(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic);
    struct tls_options o = trusting(s);
    static const char *const good[] = {"localhost", "127.0.0.1", "::1"};
    static const char *const bad[] = {"example.org", "127.0.0.2", "::2"};
    for (int i = 0; i < 3; i++) {
        o.name = good[i];
        expect_refusal(s, o, NULL);
        o.name = bad[i];
        expect_refusal(s, o,
                       i == 0 ? "certificate verify failed: hostname mismatch"
                              : "certificate verify failed: IP address mismatch");
    }
    o.verify = false;
    expect_refusal(s, o, NULL);
    o = (struct tls_options){.ca = path("other.pem"), .name = "localhost", .verify = true};
    expect_refusal(s, o, "certificate verify failed: self-signed certificate");
    o.ca = "";
    expect_refusal(s, o, "certificate verify failed: self-signed certificate");
    tls_context_free(s);
}

static void names_are_sent(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", "a.example.org", "127.0.0.1", "::1"};
    for (int i = 0; i < 4; i++) {
        struct tls_options o = {.name = names[i], .ca = ""};
        struct tls_context *c = context(o);
        struct ends e = plain_ends();
        char hello[2048];
        assert_int_equal(stream_secure(&e.client, c), 0);
        assert_int_equal(stream_handshake(&e.client), IO_AGAIN);
        ssize_t size = recv(e.server.fd, hello, sizeof hello, 0);
        assert_true(size > 0);
        assert_int_equal(memmem(hello, (size_t)size, names[i], strlen(names[i])) != NULL, i < 2);
        close_ends(&e);
        tls_context_free(c);
    }
}

static void handshakes_that_break_say_why(void **state)
{
    (void)state;
    struct tls_context *s = context(automatic);
    struct ends e = plain_ends();
    assert_int_equal(stream_secure(&e.server, s), 0);
    assert_int_equal(send(e.client.fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_int_equal(stream_handshake(&e.server), IO_FAILED);
    assert_string_equal(stream_error(&e.server), "http request");
    close_ends(&e);
    e = plain_ends();
    assert_int_equal(stream_secure(&e.server, s), 0);
    stream_close(&e.client);
    assert_int_equal(stream_handshake(&e.server), IO_CLOSED);
    assert_string_equal(stream_error(&e.server), "the far end closed the connection");
    close_ends(&e);
    tls_context_free(s);
}

static void refuse(const char *certificate, const char *key, const char *words)
{
    char why[256] = "", expected[256];
    struct tls_options o = {.server = true, .certificate = path(certificate), .key = *key ? path(key) : ""};
    assert_null(tls_context_new(&o, why, sizeof why));
    snprintf(expected, sizeof expected, words, dir, dir);
    assert_string_equal(why, expected);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    char why[256];
    refuse("none.pem", "", "tls: %s/none.pem: no such file");
    refuse("one.pem", "none.key", "tls_key: %s/none.key: no such file");
    refuse("one.pem", "", "tls: %s/one.pem: no key in it");
    refuse("one.key", "", "tls: %s/one.key: no certificate in it");
    refuse("one.pem", "one.pem", "tls_key: %s/one.pem: no key in it");
    refuse("one.pem", "other.key", "tls_key: %s/other.key does not belong to the certificate %s/one.pem");
    refuse("mixed.both", "", "tls: the key in %s/mixed.both does not belong to its certificate");
    refuse("damaged.pem", "one.key", "tls: %s/damaged.pem: a certificate in it is damaged");
    refuse("one.pem", "locked.key", "tls_key: %s/locked.key: the key is encrypted");
    refuse("weak.both", "", "tls: %s/weak.both: ee key too small");
    struct tls_options o = {.name = "x", .verify = true, .ca = "/nowhere/ca.pem"};
    assert_null(tls_context_new(&o, why, sizeof why));
    assert_string_equal(why, "tls_ca: /nowhere/ca.pem: no such file");
    o.ca = "/dev/null";
    assert_null(tls_context_new(&o, why, sizeof why));
    assert_string_equal(why, "tls_ca: /dev/null: no certificate in it");
}

static void files_are_served(void **state)
{
    (void)state;
    struct tls_options server = {.server = true, .certificate = path("one.both")};
    struct tls_options client = {.ca = path("one.pem"), .name = "b.example.org", .verify = true};
    struct tls_context *s = context(server);
    expect_refusal(s, client, NULL);
    client.ca = path("other.pem");
    expect_refusal(s, client, "certificate verify failed: self-signed certificate");
    tls_context_free(s);
    server.certificate = path("other.pem");
    server.key = path("other.key");
    s = context(server);
    expect_refusal(s, client, NULL);
    tls_context_free(s);
}

static void copy_file(const char *from, const char *to)
{
    char text[8192] = "";
    FILE *f = fopen(path(from), "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    write_file(to, text);
}

static void reload_takes_good_files_only(void **state)
{
    (void)state;
    char why[256] = "";
    copy_file("one.both", "live.both");
    struct tls_options server = {.server = true, .certificate = path("live.both"), .resume = true};
    struct tls_options one = {.ca = path("one.pem"), .name = "localhost", .verify = true, .resume = true};
    struct tls_options other = one;
    other.ca = path("other.pem");
    struct tls_context *s = context(server), *c = context(one);
    struct ends old = try_ends(s, c);
    pour(&old.server, &old.client, 10, 10, SIZE_MAX);
    write_file("live.both", "nothing\n");
    assert_int_equal(tls_context_reload(s, why, sizeof why), ERR_OPTION_VALUE);
    assert_non_null(strstr(why, "live.both: no certificate in it"));
    expect_refusal(s, one, NULL);
    copy_file("other.both", "live.both"); /* of another kind: the old one must not stay beside it */
    assert_int_equal(tls_context_reload(s, why, sizeof why), 0);
    expect_refusal(s, other, NULL);
    expect_refusal(s, one, "certificate verify failed: self-signed certificate");
    /* Old connections go on, and old tickets count. */
    pour(&old.server, &old.client, MIB, 3000, SIZE_MAX);
    struct ends e = try_ends(s, c);
    assert_true(stream_resumed(&e.client));
    close_ends(&e);
    tls_context_free(s);
    tls_context_free(c);
    pour(&old.client, &old.server, MIB, 3000, SIZE_MAX);
    close_ends(&old);
}

static void auto_stays_on_reload(void **state)
{
    (void)state;
    char why[64] = "";
    struct tls_context *s = context(automatic);
    struct tls_options o = trusting(s);
    assert_int_equal(tls_context_reload(s, why, sizeof why), 0);
    expect_refusal(s, o, NULL);
    tls_context_free(s);
}

/* What others make of the certificate: right for 30 days, and of its own making. */
static void auto_pleases_the_openssl_program(void **state)
{
    (void)state;
    char command[512];
    struct tls_context *s = context(automatic);
    trusting(s);
    snprintf(command, sizeof command,
             "cd %s && openssl verify -CAfile trusted.pem -x509_strict -verify_ip 127.0.0.1 trusted.pem && "
             "openssl x509 -in trusted.pem -noout -checkend 2588400 && "
             "! openssl x509 -in trusted.pem -noout -checkend 2592060",
             dir);
    char quiet[600];
    snprintf(quiet, sizeof quiet, "(%s) >/dev/null 2>&1", command);
    assert_int_equal(system(quiet), 0); /* NOLINT(cert-env33-c): no input from outside */
    tls_context_free(s);
}

static int make_files(void **state)
{
    char command[512];
    if (make_dir(state) != 0)
        return -1;
    make_pair("one", "rsa:2048", "");
    make_pair("other", "ec -pkeyopt ec_paramgen_curve:P-256", "");
    make_pair("weak", "rsa:1024", "");
    write_file("damaged.pem", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
    snprintf(command, sizeof command,
             "cd %s && cat one.pem other.key >mixed.both && "
             "openssl pkey -in one.key -aes128 -passout pass:secret -out locked.key",
             dir);
    return system(command); /* NOLINT(cert-env33-c): no input from outside */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_1_2_and_1_3),
        cmocka_unit_test(alpn_is_http_1_1_or_nothing),
        cmocka_unit_test(sessions_resume),
        cmocka_unit_test(many_resume_with_one_ticket),
        cmocka_unit_test(tickets_resume_in_both_versions),
        cmocka_unit_test(certificates_are_verified),
        cmocka_unit_test(names_are_sent),
        cmocka_unit_test(handshakes_that_break_say_why),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(files_are_served),
        cmocka_unit_test(reload_takes_good_files_only),
        cmocka_unit_test(auto_stays_on_reload),
        cmocka_unit_test(auto_pleases_the_openssl_program),
    };
    return cmocka_run_group_tests(tests, make_files, remove_dir);
}
