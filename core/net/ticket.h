/* The keys that seal a server's TLS session tickets. A key seals for one lifetime and opens for two, so that
 * a ticket is good for a lifetime whenever it was made, and who steals a key can read no more than two. Time
 * is given by the caller and must not go back. Internal to this room. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TICKET_NAME_SIZE = 16, TICKET_SECRET_SIZE = 32 };

struct ticket_key {
    uint8_t name[TICKET_NAME_SIZE]; /* stands in the ticket */
    uint8_t cipher[TICKET_SECRET_SIZE], mac[TICKET_SECRET_SIZE];
    uint64_t born_ns;
    bool made;
};

struct ticket_keys {
    uint64_t lifetime_ns; /* above 0 */
    struct ticket_key newest, before;
};

/* The key for a new ticket; NULL without random bytes. Valid, as those below, until the next call. */
const struct ticket_key *ticket_keys_seal(struct ticket_keys *k, uint64_t now_ns);
/* The key of that name, NULL when it is none of ours any more; ret_renew: another seals by now. */
const struct ticket_key *ticket_keys_open(struct ticket_keys *k, const uint8_t name[TICKET_NAME_SIZE],
                                          uint64_t now_ns, bool *ret_renew);
/* Leaves nothing of them in memory. */
void ticket_keys_wipe(struct ticket_keys *k);
