#include "net/cert.h"

#include "base/bytes.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

static int refuse(char *why, size_t why_size, const char *option, const char *file, const char *reason)
{
    snprintf(why, why_size, "%s: %s: %s", option, file, reason);
    ERR_clear_error();
    return ERR_OPTION_VALUE;
}

/* OpenSSL's own would ask on the terminal. */
static int no_password(char *into, int size, int writing, void *user)
{
    (void)into;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static FILE *file_open(const char *option, const char *file, char *why, size_t why_size)
{
    FILE *f = fopen(file, "re");
    if (f == NULL)
        refuse(why, why_size, option, file, errno == ENOENT ? "no such file" : strerror(errno));
    return f;
}

/* NULL at the end of the file, and with *ret_reason set where it is broken. */
static X509 *next_certificate(FILE *f, const char **ret_reason)
{
    ERR_clear_error();
    X509 *x = PEM_read_X509(f, NULL, no_password, NULL);
    if (x == NULL && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        *ret_reason = "a certificate in it is damaged";
    return x;
}

static int load_chain(const char *file, char *why, size_t why_size, struct cert *c)
{
    const char *reason = NULL;
    FILE *f = file_open("tls", file, why, why_size);
    if (f == NULL)
        return ERR_OPTION_VALUE;
    c->leaf = next_certificate(f, &reason);
    c->chain = sk_X509_new_null();
    for (X509 *x; c->leaf != NULL && (x = next_certificate(f, &reason)) != NULL;)
        sk_X509_push(c->chain, x);
    fclose(f);
    if (c->leaf == NULL && reason == NULL)
        reason = "no certificate in it";
    return reason != NULL ? refuse(why, why_size, "tls", file, reason) : 0;
}

static int load_key(const char *option, const char *file, char *why, size_t why_size, struct cert *c)
{
    FILE *f = file_open(option, file, why, why_size);
    if (f == NULL)
        return ERR_OPTION_VALUE;
    ERR_clear_error();
    c->key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
    fclose(f);
    if (c->key != NULL)
        return 0;
    unsigned long code = ERR_peek_last_error();
    bool encrypted = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_BAD_PASSWORD_READ;
    return refuse(why, why_size, option, file, encrypted ? "the key is encrypted" : "no key in it");
}

int cert_load(const char *file, const char *key_file, char *why, size_t why_size, struct cert *ret_cert)
{
    struct cert c = {0};
    bool apart = *key_file != '\0';
    int err = load_chain(file, why, why_size, &c);
    if (err == 0)
        err = load_key(apart ? "tls_key" : "tls", apart ? key_file : file, why, why_size, &c);
    if (err == 0 && X509_check_private_key(c.leaf, c.key) != 1) {
        if (apart)
            snprintf(why, why_size, "tls_key: %s does not belong to the certificate %s", key_file, file);
        else
            snprintf(why, why_size, "tls: the key in %s does not belong to its certificate", file);
        err = ERR_OPTION_VALUE;
    }
    ERR_clear_error();
    if (err == 0)
        *ret_cert = c;
    else
        cert_free(&c);
    return err;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool added = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return added;
}

/* No keyUsage: without the right to sign certificates, which a leaf should not have, it would not count as
 * self-signed. */
static bool fill(X509 *x, EVP_PKEY *key)
{
    enum { HOUR = 3600, DAY = 24 * HOUR };
    static const unsigned char name_text[] = "wsb";
    uint64_t serial = 0;
    X509_NAME *name = X509_get_subject_name(x);
    if (RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
        return false;
    return X509_set_version(x, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x), -HOUR) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x), 30L * DAY) != NULL &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, name_text, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 &&
           add_extension(x, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1") &&
           add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256()) > 0;
}

int cert_make(bool rsa, struct cert *ret_cert)
{
    struct cert c = {.leaf = X509_new(),
                     .chain = sk_X509_new_null(),
                     .key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    if (c.leaf == NULL || c.chain == NULL || c.key == NULL || !fill(c.leaf, c.key)) {
        cert_free(&c);
        return ERR_TLS;
    }
    *ret_cert = c;
    return 0;
}

char *cert_pem(const struct cert *c)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *at = NULL;
    PEM_write_bio_X509(b, c->leaf);
    size_t size = (size_t)BIO_get_mem_data(b, &at);
    char *text = mem_zero(size + 1);
    memcpy(text, at, size);
    BIO_free(b);
    return text;
}

void cert_free(struct cert *c)
{
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    *c = (struct cert){0};
}
