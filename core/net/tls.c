#include "net/tls.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/cert.h"
#include "net/ticket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define NS_PER_HOUR (3600 * NS_PER_S)

struct tls_context {
    struct tls_options options; /* its texts are copies */
    SSL_CTX *ssl;
    char *pem;
    struct ticket_keys tickets; /* server: outlive a reload, and so do the tickets */
    SSL_SESSION *session;       /* client: the newest, which the next stream offers */
};

/* In ALPN's form: a length, then the name. */
static const unsigned char http_1_1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

static int choose_protocol(SSL *ssl, const unsigned char **ret_at, unsigned char *ret_size,
                           const unsigned char *offered, unsigned size, void *user)
{
    (void)ssl;
    (void)user;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, ret_size, http_1_1, sizeof http_1_1, offered, size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret_at = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* its reference is ours now */
}

static bool is_address(const char *name)
{
    unsigned char address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* The last thing that OpenSSL complained about. */
static const char *complaint(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "OpenSSL failed";
}

static bool use_certificate(struct tls_context *c, SSL_CTX *ssl, char *why, size_t why_size)
{
    const struct tls_options *o = &c->options;
    struct cert cert;
    if (strcmp(o->certificate, "auto") == 0) {
        if (cert_make(o->auto_rsa, &cert) < 0) {
            snprintf(why, why_size, "tls: auto: %s", complaint());
            return false;
        }
    } else if (cert_load(o->certificate, o->key, why, why_size, &cert) < 0) {
        return false;
    }
    bool used = SSL_CTX_use_cert_and_key(ssl, cert.leaf, cert.key, cert.chain, 1) == 1;
    if (used) {
        free(c->pem);
        c->pem = cert_pem(&cert);
    } else {
        snprintf(why, why_size, "tls: %s: %s", o->certificate, complaint());
    }
    cert_free(&cert);
    return used;
}

/* Answers as OpenSSL wants it: 1, 2 for a ticket to be renewed, 0 for one that is of no use, -1. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int seals)
{
    struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    uint64_t now = clock_now_ns();
    bool renew = false;
    const struct ticket_key *key =
        seals ? ticket_keys_seal(&c->tickets, now) : ticket_keys_open(&c->tickets, name, now, &renew);
    if (key == NULL)
        return seals ? -1 : 0;
    if (seals && RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
        return -1;
    if (seals)
        memcpy(name, key->name, sizeof key->name);
    uint8_t secret[TICKET_SECRET_SIZE]; /* since a parameter is not const */
    char digest[] = "SHA256";
    memcpy(secret, key->mac, sizeof secret);
    const OSSL_PARAM of_mac[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof secret),
                                 OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof digest - 1),
                                 OSSL_PARAM_END};
    bool ready = EVP_MAC_CTX_set_params(mac, of_mac) == 1 &&
                 EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seals) == 1;
    OPENSSL_cleanse(secret, sizeof secret);
    /* In TLS 1.3 a ticket is for one use (RFC 8446 C.4): without a new one the next connection could not
     * resume. */
    renew = renew || (!seals && SSL_version(ssl) == TLS1_3_VERSION);
    return !ready ? -1 : renew ? 2 : 1;
}

static void prepare_tickets(struct tls_context *c, SSL_CTX *ssl)
{
    uint64_t lifetime_ns = c->options.ticket_lifetime_ns > 0 ? c->options.ticket_lifetime_ns : NS_PER_HOUR;
    SSL_CTX_set_num_tickets(ssl, 1);
    c->tickets.lifetime_ns = lifetime_ns;
    SSL_CTX_set_timeout(ssl, (long)((lifetime_ns + NS_PER_S - 1) / NS_PER_S));
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, ticket_key);
}

/* The cheapest to agree to where a CPU has SHA-256 and not SHA-384, and the smallest to keep. */
static bool is_preferred(const SSL_CIPHER *cipher)
{
    int exchange = SSL_CIPHER_get_kx_nid(cipher);
    return SSL_CIPHER_get_cipher_nid(cipher) == NID_aes_128_gcm &&
           (exchange == NID_kx_ecdhe || exchange == NID_kx_any);
}

static void append_names(const STACK_OF(SSL_CIPHER) * ciphers, bool of_1_3, bool preferred, struct buf *list)
{
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if ((SSL_CIPHER_get_kx_nid(cipher) == NID_kx_any) != of_1_3 || is_preferred(cipher) != preferred)
            continue;
        buf_printf(list, "%s:", SSL_CIPHER_get_name(cipher));
    }
}

static bool order_ciphers(SSL_CTX *ssl, bool of_1_3, int (*set)(SSL_CTX *ssl, const char *list))
{
    struct buf list = {0};
    append_names(SSL_CTX_get_ciphers(ssl), of_1_3, true, &list);
    append_names(SSL_CTX_get_ciphers(ssl), of_1_3, false, &list);
    bool done = list.size == 0 || set(ssl, (const char *)list.at) == 1;
    buf_free(&list);
    return done;
}

/* Puts some first of what the system lets be accepted; a client that puts ChaCha first has no AES in its CPU,
 * and gets that. */
static bool prefer_ciphers(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    return order_ciphers(ssl, true, SSL_CTX_set_ciphersuites) &&
           order_ciphers(ssl, false, SSL_CTX_set_cipher_list);
}

/* Ends that are on their way in know the context no longer, and make tickets with keys of their own. */
static void forget(SSL_CTX *ssl)
{
    SSL_CTX_sess_set_new_cb(ssl, NULL);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, NULL);
    SSL_CTX_free(ssl);
}

/* Stateless: all that a resumption takes is in the client's ticket. */
static bool prepare_server(struct tls_context *c, SSL_CTX *ssl, char *why, size_t why_size)
{
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (c->options.resume) {
        prepare_tickets(c, ssl);
    } else {
        SSL_CTX_set_num_tickets(ssl, 0);
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    }
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    return prefer_ciphers(ssl) && use_certificate(c, ssl, why, why_size);
}

static bool trust(const struct tls_options *o, SSL_CTX *ssl, char *why, size_t why_size)
{
    if (*o->ca == '\0')
        return SSL_CTX_set_default_verify_paths(ssl) == 1;
    FILE *f = fopen(o->ca, "re");
    if (f == NULL) {
        snprintf(why, why_size, "tls_ca: %s: %s", o->ca, errno == ENOENT ? "no such file" : strerror(errno));
        return false;
    }
    fclose(f);
    if (SSL_CTX_load_verify_file(ssl, o->ca) == 1)
        return true;
    snprintf(why, why_size, "tls_ca: %s: no certificate in it", o->ca);
    return false;
}

static bool prepare_client(struct tls_context *c, SSL_CTX *ssl, char *why, size_t why_size)
{
    const struct tls_options *o = &c->options;
    X509_VERIFY_PARAM *wanted = SSL_CTX_get0_param(ssl);
    SSL_CTX_set_alpn_protos(ssl, http_1_1, sizeof http_1_1);
    SSL_CTX_set_session_cache_mode(ssl, o->resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                                  : SSL_SESS_CACHE_OFF);
    if (o->resume)
        SSL_CTX_sess_set_new_cb(ssl, keep_session);
    else
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
    if (!o->verify)
        return true;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (!(is_address(o->name) ? X509_VERIFY_PARAM_set1_ip_asc(wanted, o->name)
                              : X509_VERIFY_PARAM_set1_host(wanted, o->name, 0)))
        return false;
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return trust(o, ssl, why, why_size);
}

static SSL_CTX *prepare(struct tls_context *c, char *why, size_t why_size)
{
    const struct tls_options *o = &c->options;
    ERR_clear_error();
    snprintf(why, why_size, "tls: OpenSSL failed");
    SSL_CTX *ssl = SSL_CTX_new(o->server ? TLS_server_method() : TLS_client_method());
    if (ssl == NULL)
        return NULL;
    SSL_CTX_set_app_data(ssl, c);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    /* One recv for many small records, not two for each. */
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_min_proto_version(ssl, o->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ssl, o->only_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    if (!(o->server ? prepare_server(c, ssl, why, why_size) : prepare_client(c, ssl, why, why_size))) {
        SSL_CTX_free(ssl);
        ssl = NULL;
    }
    ERR_clear_error();
    return ssl;
}

static const char *copy(const char *text)
{
    return mem_text(text != NULL ? text : "");
}

struct tls_context *tls_context_new(const struct tls_options *options, char *why, size_t why_size)
{
    struct tls_context *c = mem_zero(sizeof *c);
    c->options = *options;
    c->options.certificate = copy(options->certificate);
    c->options.key = copy(options->key);
    c->options.ca = copy(options->ca);
    c->options.name = copy(options->name);
    c->ssl = prepare(c, why, why_size);
    if (c->ssl != NULL)
        return c;
    tls_context_free(c);
    return NULL;
}

int tls_context_reload(struct tls_context *c, char *why, size_t why_size)
{
    if (!c->options.server || strcmp(c->options.certificate, "auto") == 0)
        return 0;
    /* A context of its own, since one keeps a certificate for each kind of key: an old one would stay beside
     * the new. */
    SSL_CTX *ssl = prepare(c, why, why_size);
    if (ssl == NULL)
        return ERR_OPTION_VALUE;
    forget(c->ssl);
    c->ssl = ssl;
    return 0;
}

const char *tls_context_certificate(const struct tls_context *c)
{
    return c->pem != NULL ? c->pem : "";
}

/* A copy, since OpenSSL does not offer one again that has resumed TLS 1.3 once; but of many streams that
 * begin before the first has a newer ticket, all are to resume. */
static void offer_session(SSL *ssl, const SSL_SESSION *session)
{
    SSL_SESSION *copied = SSL_SESSION_dup(session);
    if (copied == NULL)
        return;
    SSL_set_session(ssl, copied);
    SSL_SESSION_free(copied);
}

struct ssl_st *tls_context_end(struct tls_context *c)
{
    const char *name = c->options.name;
    SSL *ssl = SSL_new(c->ssl);
    if (ssl == NULL)
        return NULL;
    if (c->options.server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (*name != '\0' && !is_address(name) && SSL_set_tlsext_host_name(ssl, name) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    if (c->session != NULL)
        offer_session(ssl, c->session);
    return ssl;
}

void tls_context_free(struct tls_context *c)
{
    if (c == NULL)
        return;
    if (c->ssl != NULL)
        forget(c->ssl);
    ticket_keys_wipe(&c->tickets);
    SSL_SESSION_free(c->session);
    /* Texts of our own, const for everybody else. */
    free((void *)(uintptr_t)c->options.certificate);
    free((void *)(uintptr_t)c->options.key);
    free((void *)(uintptr_t)c->options.ca);
    free((void *)(uintptr_t)c->options.name);
    free(c->pem);
    free(c);
}
