/* A server's certificate, its chain and its key. Internal to this room, as OpenSSL is. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

struct cert {
    X509 *leaf;
    STACK_OF(X509) * chain; /* what links it to a root; may be empty */
    EVP_PKEY *key;
};

/* From PEM files; an empty key_file looks in the certificate's. 0, or ERR_OPTION_VALUE with the option, the
 * file and the reason in `why`. A certificate that has expired is taken: its owner sees what the clients say.
 */
int cert_load(const char *file, const char *key_file, char *why, size_t why_size, struct cert *ret_cert);
/* Self-signed, for localhost, 127.0.0.1 and ::1, and for 30 days, with a key for ECDSA (P-256) or for RSA
 * (2048 bits). 0 or ERR_TLS. */
int cert_make(bool rsa, struct cert *ret_cert);
/* The leaf as text, to be freed with free(). */
char *cert_pem(const struct cert *c);
void cert_free(struct cert *c);
