#include "net/ticket.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

static void wipe(struct ticket_key *key)
{
    OPENSSL_cleanse(key, sizeof *key);
    key->made = false;
}

static bool make(struct ticket_key *key, uint64_t now_ns)
{
    if (RAND_bytes(key->name, sizeof key->name) != 1 ||
        RAND_priv_bytes(key->cipher, sizeof key->cipher) != 1 ||
        RAND_priv_bytes(key->mac, sizeof key->mac) != 1) {
        wipe(key);
        return false;
    }
    key->born_ns = now_ns;
    key->made = true;
    return true;
}

/* Takes from use what is too old to seal, and from memory what is too old to open. */
static void grow_old(struct ticket_keys *k, uint64_t now_ns)
{
    if (k->newest.made && now_ns - k->newest.born_ns >= k->lifetime_ns) {
        k->before = k->newest;
        wipe(&k->newest);
    }
    if (k->before.made && now_ns - k->before.born_ns >= 2 * k->lifetime_ns)
        wipe(&k->before);
}

const struct ticket_key *ticket_keys_seal(struct ticket_keys *k, uint64_t now_ns)
{
    grow_old(k, now_ns);
    return k->newest.made || make(&k->newest, now_ns) ? &k->newest : NULL;
}

static bool has_name(const struct ticket_key *key, const uint8_t name[TICKET_NAME_SIZE])
{
    return key->made && memcmp(key->name, name, TICKET_NAME_SIZE) == 0;
}

const struct ticket_key *ticket_keys_open(struct ticket_keys *k, const uint8_t name[TICKET_NAME_SIZE],
                                          uint64_t now_ns, bool *ret_renew)
{
    grow_old(k, now_ns);
    const struct ticket_key *key = has_name(&k->newest, name)   ? &k->newest
                                   : has_name(&k->before, name) ? &k->before
                                                                : NULL;
    if (key != NULL)
        *ret_renew = key == &k->before;
    return key;
}

void ticket_keys_wipe(struct ticket_keys *k)
{
    wipe(&k->newest);
    wipe(&k->before);
}
