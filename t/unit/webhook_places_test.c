/* links: sidecar/jobs/webhook_places.c */

/* Who gets a place for a delivery, and who waits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "jobs/webhook.h"


static tf_webhooks_t  hooks;
static int64_t        now = 1;


static void
with(unsigned places)
{
    memset(&hooks, 0, sizeof(hooks));
    (void) pthread_mutex_init(&hooks.mutex, NULL);
    hooks.places = places;
}


/* How many places the tenant gets, each for another server. */

static unsigned
takes(const char *tenant)
{
    char      server[32];
    unsigned  n;

    for (n = 0; n < 1000; n++) {
        (void) snprintf(server, sizeof(server), "%s-%u:443", tenant, n);

        if (tf_webhook_place(&hooks, tenant, server, now) == -1) {
            break;
        }
    }

    return n;
}


/* Another tenant delivers something, and that is done. */

static void
another_one(void)
{
    int  place;

    place = tf_webhook_place(&hooks, "z", "z:443", now);
    assert_int_not_equal(place, -1);
    tf_webhook_leave(&hooks, place);
}


static void
many_hosts_give_a_tenant_no_more_than_half(void **state)
{
    unsigned  n;

    (void) state;

    for (n = 2; n <= TF_WEBHOOK_PLACES_MAX; n++) {
        with(n);
        another_one();
        assert_int_equal(takes("a"), (n + 1) / 2);
    }

    with(1);
    another_one();
    assert_int_equal(takes("a"), 1);
}


static void
a_tenant_that_is_alone_gets_all(void **state)
{
    (void) state;

    with(16);
    assert_int_equal(takes("a"), 16);

    with(16);
    another_one();
    now += TF_WEBHOOK_ALONE_MS;
    assert_int_equal(takes("a"), 16);
}


static void
another_tenant_always_finds_a_place(void **state)
{
    char      tenant[8];
    unsigned  i, n;

    (void) state;

    with(16);
    another_one();

    assert_int_equal(takes("a"), 8);
    assert_int_equal(takes("b"), 4);
    assert_int_equal(takes("c"), 2);
    assert_int_equal(takes("d"), 1);
    assert_int_equal(takes("e"), 1);
    assert_int_equal(takes("f"), 0);

    /* what one gives back others get as well */

    for (i = 0, n = 0; i < 16 && n < 6; i++) {
        if (strcmp(hooks.at[i].tenant, "a") == 0) {
            tf_webhook_leave(&hooks, (int) i);
            n++;
        }
    }

    assert_int_equal(hooks.taken, 10);
    assert_int_equal(takes("a"), 2);

    for (i = 0; i < 4; i++) {
        (void) snprintf(tenant, sizeof(tenant), "n%u", i);
        assert_int_not_equal(tf_webhook_place(&hooks, tenant, "x:443", now),
                             -1);
    }
}


static void
one_server_gets_a_part_whoever_names_it(void **state)
{
    char      tenant[16];
    unsigned  n;

    (void) state;

    with(16);

    for (n = 0; tf_webhook_place(&hooks, "a", "one:443", now) != -1; n++) {
        /* void */
    }

    assert_int_equal(n, 8);
    assert_int_not_equal(tf_webhook_place(&hooks, "a", "two:443", now), -1);

    with(16);
    another_one();

    for (n = 0; n < 16; n++) {
        (void) snprintf(tenant, sizeof(tenant), "t%u", n);

        if (tf_webhook_place(&hooks, tenant, "one:443", now) == -1) {
            break;
        }
    }

    assert_int_equal(n, 4);
    assert_int_not_equal(tf_webhook_place(&hooks, "t0", "two:443", now), -1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(many_hosts_give_a_tenant_no_more_than_half),
        cmocka_unit_test(a_tenant_that_is_alone_gets_all),
        cmocka_unit_test(another_tenant_always_finds_a_place),
        cmocka_unit_test(one_server_gets_a_part_whoever_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
