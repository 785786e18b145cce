/* TLS by OpenSSL: what the connections of one server, or of one swarm, share. A stream carries it
 * (stream_secure); nobody else needs to know. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;

struct tls_options {
    bool server;
    const char *certificate;     /* server: PEM file, or "auto" for a self-signed pair made on the spot */
    bool auto_rsa;               /* server: the key of that pair is for RSA, which costs more to use */
    const char *key;             /* server: PEM file; "" looks in the certificate's file */
    const char *ca;              /* client: PEM file to trust; "" the system's store */
    const char *name;            /* client: the host that is asked for (SNI) and has to be certified */
    bool verify;                 /* client: refuse a wrong certificate or name */
    bool resume;                 /* server: hand out tickets; client: use them */
    uint64_t ticket_lifetime_ns; /* server: of a ticket and of the key that seals it; 0: an hour */
    bool only_1_2, only_1_3;     /* neither: both versions; at most one of them */
};

/* NULL with the reason in `why` (which names the file). */
struct tls_context *tls_context_new(const struct tls_options *options, char *why, size_t why_size);
/* Server: reads certificate and key again, for new connections; on ERR_OPTION_VALUE, with the reason in
 * `why`, the old ones stay. */
int tls_context_reload(struct tls_context *c, char *why, size_t why_size);
/* The server's certificate in PEM, for who has to trust an "auto" one; "" of a client. NUL-terminated, good
 * until the next reload. */
const char *tls_context_certificate(const struct tls_context *c);
/* Streams that are open live on. */
void tls_context_free(struct tls_context *c);

/* One more end, ready for its handshake, or NULL. Internal to this room. */
struct ssl_st *tls_context_end(struct tls_context *c);
