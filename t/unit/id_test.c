/* links: */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <trifecta/id.h>
#include <trifecta/job.h>
#include <trifecta/keys.h>


#define KEY1  "0123456789abcdef0123456789abcdef"
#define KEY2  "fedcba9876543210fedcba9876543210"

static const unsigned char  rnd[TF_ID_RND_LEN] = { 1, 2, 3, 4, 5, 6 };


static void
make(tf_id_t *id, const char *keys, unsigned shard, const char *tenant,
    const char *owner)
{
    tf_id_keys_t  k;

    assert_null(tf_id_keys_parse(&k, keys, strlen(keys)));
    assert_int_equal(tf_id_make(id, &k, 0x0123456789abULL, shard, rnd, tenant,
                                strlen(tenant), owner, strlen(owner)), 0);
}


static int
verifies(const tf_id_t *id, const char *keys, const char *tenant,
    const char *owner)
{
    tf_id_keys_t  k;

    assert_null(tf_id_keys_parse(&k, keys, strlen(keys)));

    return tf_id_verify(id, &k, tenant, strlen(tenant), owner,
                        strlen(owner));
}


static void
id_is_a_uuid_v7_that_says_its_time_and_shard(void **state)
{
    char      text[TF_ID_TEXT_LEN + 1];
    tf_id_t   id;
    unsigned  shard;

    (void) state;

    for (shard = 0; shard < 256; shard++) {
        make(&id, KEY1, shard, "t", "o");
        assert_int_equal(tf_id_shard(&id), shard);
        assert_int_equal(tf_id_time(&id), 0x0123456789abULL);
        assert_int_equal(id.octets[6] >> 4, 7);
        assert_int_equal(id.octets[8] >> 6, 2);
    }

    tf_id_format(text, &id);
    text[TF_ID_TEXT_LEN] = '\0';
    assert_memory_equal(text, "01234567-89ab-7ff1-8203-040506", 30);
}


/*
 * The MAC's expected value was computed with
 *   printf '\0\r<13 octets>\0\6tenant\0\ni:subject-' |
 *       openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
 */

static void
id_mac_has_the_documented_value(void **state)
{
    tf_id_t  id;

    (void) state;

    make(&id, KEY1, 0, "tenant", "i:subject-");
    assert_int_equal(id.octets[13], 0x4f);
    assert_int_equal(id.octets[14], 0x6b);
    assert_int_equal(id.octets[15], 0x69);
}


static void
id_of_somebody_else_does_not_verify(void **state)
{
    tf_id_t  id;

    (void) state;

    make(&id, KEY1, 3, "ab", "cd");
    assert_true(verifies(&id, KEY1, "ab", "cd"));
    assert_false(verifies(&id, KEY1, "ab", "ce"));
    assert_false(verifies(&id, KEY1, "aa", "cd"));
    assert_false(verifies(&id, KEY1, "a", "bcd"));
    assert_false(verifies(&id, KEY1, "abc", "d"));
    assert_false(verifies(&id, KEY2, "ab", "cd"));
}


/* What is made ready says what it says otherwise, again and again. */

static void
id_of_keys_that_are_ready_is_the_same(void **state)
{
    tf_id_t       id, same;
    unsigned      i;
    tf_id_keys_t  k, ready;

    (void) state;

    assert_null(tf_id_keys_parse(&k, KEY1 "\n" KEY2, 65));
    ready = k;

    tf_id_keys_ready(&ready);
    assert_non_null(ready.mac[0]);
    assert_non_null(ready.mac[1]);

    for (i = 0; i < 3; i++) {
        assert_int_equal(tf_id_make(&id, &k, i, i, rnd, "tenant", 6, "o", 1),
                         0);
        assert_int_equal(tf_id_make(&same, &ready, i, i, rnd, "tenant", 6,
                                    "o", 1),
                         0);
        assert_memory_equal(&id, &same, sizeof(id));
        assert_true(tf_id_verify(&same, &ready, "tenant", 6, "o", 1));
        assert_false(tf_id_verify(&same, &ready, "tenant", 6, "p", 1));
    }

    make(&id, KEY2, 0, "t", "o");
    assert_true(tf_id_verify(&id, &ready, "t", 1, "o", 1));

    tf_id_keys_unready(&ready);
    assert_null(ready.mac[0]);
    assert_true(tf_id_verify(&id, &ready, "t", 1, "o", 1));
}


static void
id_with_any_bit_changed_does_not_verify(void **state)
{
    tf_id_t   id;
    unsigned  bit, passed;

    (void) state;

    make(&id, KEY1, 0, "t", "o");
    passed = 0;

    for (bit = 0; bit < 128; bit++) {
        id.octets[bit / 8] ^= (unsigned char) (1u << bit % 8);
        passed += (unsigned) verifies(&id, KEY1, "t", "o");
        id.octets[bit / 8] ^= (unsigned char) (1u << bit % 8);
    }

    assert_int_equal(passed, 0);
    assert_true(verifies(&id, KEY1, "t", "o"));
}


static void
id_of_the_previous_key_verifies_during_rotation(void **state)
{
    tf_id_t  old, fresh;

    (void) state;

    make(&old, KEY1, 0, "t", "o");
    make(&fresh, KEY2 "\n" KEY1 "\n", 0, "t", "o");
    assert_true(verifies(&old, KEY2 "\n" KEY1, "t", "o"));
    assert_true(verifies(&fresh, KEY2 "\n" KEY1, "t", "o"));
    assert_false(verifies(&fresh, KEY1, "t", "o"));
}


static void
id_keys_that_are_weak_or_too_many_are_refused(void **state)
{
    tf_id_keys_t  k;

    (void) state;

    assert_non_null(tf_id_keys_parse(&k, "", 0));
    assert_non_null(tf_id_keys_parse(&k, "\n\n", 2));
    assert_non_null(tf_id_keys_parse(&k, "short", 5));
    assert_non_null(tf_id_keys_parse(&k, KEY1 "\n" KEY1 "\n" KEY1, 98));
    assert_null(tf_id_keys_parse(&k, KEY1 "\r\n", 34));
    assert_int_equal(k.len[0], 32);
}


static void
id_text_is_read_in_both_cases_and_nothing_else(void **state)
{
    char               text[TF_ID_TEXT_LEN];
    size_t             i;
    tf_id_t            id;

    static const char *bad[] = {
        "", "0", "0123456789ab7ff18203040506070809",
        "01234567-89ab-7ff1-8203-04050607080",
        "01234567-89ab-7ff1-8203-0405060708099",
        "01234567-89ab-7ff1-8203-04050607080g",
        "01234567-89ab-7ff1-82030-4050607080a",
        "01234567 89ab 7ff1 8203 0405060708ab",
        "{1234567-89ab-7ff1-8203-0405060708a}"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_id_parse(&id, bad[i], strlen(bad[i])), -1);
    }

    assert_int_equal(tf_id_parse(&id, "01234567-89AB-7fF1-8203-0405060708aB",
                                 TF_ID_TEXT_LEN), 0);
    tf_id_format(text, &id);
    assert_memory_equal(text, "01234567-89ab-7ff1-8203-0405060708ab",
                        TF_ID_TEXT_LEN);
}


static void
shard_of_a_tenant_is_its_crc16_modulo_the_shards(void **state)
{
    (void) state;

    /* the check value of CRC-16/XMODEM is 0x31c3 for "123456789" */

    assert_int_equal(tf_shard_of("123456789", 9, 0x10000), 0x31c3);
    assert_int_equal(tf_shard_of("123456789", 9, 16384), 0x31c3);
    assert_int_equal(tf_shard_of("123456789", 9, 1), 0);
    assert_int_equal(tf_shard_of("", 0, 4), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(id_is_a_uuid_v7_that_says_its_time_and_shard),
        cmocka_unit_test(id_mac_has_the_documented_value),
        cmocka_unit_test(id_of_somebody_else_does_not_verify),
        cmocka_unit_test(id_of_keys_that_are_ready_is_the_same),
        cmocka_unit_test(id_with_any_bit_changed_does_not_verify),
        cmocka_unit_test(id_of_the_previous_key_verifies_during_rotation),
        cmocka_unit_test(id_keys_that_are_weak_or_too_many_are_refused),
        cmocka_unit_test(id_text_is_read_in_both_cases_and_nothing_else),
        cmocka_unit_test(shard_of_a_tenant_is_its_crc16_modulo_the_shards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
