#include "net/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { LIFE = 100, BIRTH = 1000 };

static struct ticket_key sealed(struct ticket_keys *k, uint64_t now)
{
    const struct ticket_key *key = ticket_keys_seal(k, now);
    assert_non_null(key);
    return *key;
}

static bool opens(struct ticket_keys *k, const struct ticket_key *with, uint64_t now, bool renew)
{
    bool renewed = !renew;
    const struct ticket_key *key = ticket_keys_open(k, with->name, now, &renewed);
    assert_true(key == NULL || renewed == renew);
    if (key != NULL)
        assert_memory_equal(key->mac, with->mac, sizeof with->mac);
    return key != NULL;
}

static bool all_zero(const void *at, size_t size)
{
    const uint8_t *bytes = at;
    size_t i = 0;
    while (i < size && bytes[i] == 0)
        i++;
    return i == size;
}

static void a_key_seals_for_one_lifetime(void **state)
{
    struct ticket_keys k = {.lifetime_ns = LIFE};
    (void)state;
    struct ticket_key first = sealed(&k, BIRTH), same = sealed(&k, BIRTH + LIFE - 1);
    assert_memory_equal(&first, &same, sizeof first);
    struct ticket_key second = sealed(&k, BIRTH + LIFE);
    assert_memory_not_equal(first.name, second.name, sizeof first.name);
    assert_memory_not_equal(first.cipher, second.cipher, sizeof first.cipher);
    assert_memory_not_equal(first.mac, second.mac, sizeof first.mac);
    assert_memory_not_equal(first.mac, first.cipher, sizeof first.mac);
    ticket_keys_wipe(&k);
}

static void it_opens_for_two(void **state)
{
    struct ticket_keys k = {.lifetime_ns = LIFE};
    (void)state;
    struct ticket_key first = sealed(&k, BIRTH);
    assert_true(opens(&k, &first, BIRTH, false));
    assert_true(opens(&k, &first, BIRTH + LIFE - 1, false));
    assert_true(opens(&k, &first, BIRTH + LIFE, true));
    struct ticket_key second = sealed(&k, BIRTH + LIFE + 10);
    assert_true(opens(&k, &first, BIRTH + 2 * LIFE - 1, true));
    assert_true(opens(&k, &second, BIRTH + 2 * LIFE - 1, false));
    assert_false(opens(&k, &first, BIRTH + 2 * LIFE, true));
    assert_true(opens(&k, &second, BIRTH + 2 * LIFE + 10, true));
    assert_false(opens(&k, &second, BIRTH + 3 * LIFE + 10, true));
    ticket_keys_wipe(&k);
}

static void a_key_that_slept_through_its_time_does_not_open(void **state)
{
    struct ticket_keys k = {.lifetime_ns = LIFE};
    (void)state;
    struct ticket_key first = sealed(&k, BIRTH);
    assert_false(opens(&k, &first, BIRTH + 50 * LIFE, true));
    struct ticket_key second = sealed(&k, BIRTH + 50 * LIFE);
    assert_true(opens(&k, &second, BIRTH + 50 * LIFE, false));
    ticket_keys_wipe(&k);
}

static void a_name_that_is_not_ours_opens_nothing(void **state)
{
    struct ticket_keys k = {.lifetime_ns = LIFE};
    struct ticket_key none = {.made = false};
    (void)state;
    assert_false(opens(&k, &none, BIRTH, false)); /* not even that of a key that was never made */
    struct ticket_key first = sealed(&k, BIRTH);
    first.name[TICKET_NAME_SIZE - 1] ^= 1;
    assert_false(opens(&k, &first, BIRTH, false));
    ticket_keys_wipe(&k);
}

static void what_is_of_no_use_is_wiped(void **state)
{
    struct ticket_keys k = {.lifetime_ns = LIFE};
    (void)state;
    struct ticket_key first = sealed(&k, BIRTH);
    assert_false(opens(&k, &first, BIRTH + 2 * LIFE, true));
    assert_true(all_zero(&k.newest, sizeof k.newest) && all_zero(&k.before, sizeof k.before));
    sealed(&k, BIRTH + 2 * LIFE);
    sealed(&k, BIRTH + 3 * LIFE);
    assert_true(k.newest.made && k.before.made);
    ticket_keys_wipe(&k);
    assert_true(all_zero(&k.newest, sizeof k.newest) && all_zero(&k.before, sizeof k.before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_seals_for_one_lifetime),
        cmocka_unit_test(it_opens_for_two),
        cmocka_unit_test(a_key_that_slept_through_its_time_does_not_open),
        cmocka_unit_test(a_name_that_is_not_ours_opens_nothing),
        cmocka_unit_test(what_is_of_no_use_is_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
