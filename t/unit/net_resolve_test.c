/* links: sidecar/net/ sidecar/base/buf.c */

/*
 * Names whose look-up hangs, and names that change what they mean: the
 * resolver is this file's own.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/networks.h"
#include "net/stream.h"


#define HANGS_MS  4000
#define TOTAL_MS  300

static atomic_int  asked, slow;


static struct addrinfo *
address(const char *text, const char *service, struct addrinfo *next)
{
    struct addrinfo     *ai;
    struct sockaddr_in  *in;

    /* each in one piece, as freeaddrinfo() wants them */

    ai = calloc(1, sizeof(*ai) + sizeof(*in));
    assert_non_null(ai);
    in = (struct sockaddr_in *) (ai + 1);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t) atoi(service ? service : "0"));
    (void) inet_pton(AF_INET, text, &in->sin_addr);

    ai->ai_family = AF_INET;
    ai->ai_socktype = SOCK_STREAM;
    ai->ai_addrlen = sizeof(*in);
    ai->ai_addr = (struct sockaddr *) in;
    ai->ai_next = next;

    return ai;
}


int
getaddrinfo(const char *restrict node, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict res)
{
    int  n;

    (void) hints;

    if (strcmp(node, "hangs.test") == 0) {
        atomic_fetch_add(&slow, 1);
        (void) poll(NULL, 0, HANGS_MS);
        atomic_fetch_sub(&slow, 1);
        return EAI_AGAIN;
    }

    n = atomic_fetch_add(&asked, 1);

    if (strcmp(node, "both.test") == 0) {
        *res = address("127.0.0.1", service,
                       address("127.0.0.2", service, NULL));

    } else {
        *res = address(n == 0 ? "127.0.0.2" : "127.0.0.1", service, NULL);
    }

    return 0;
}


static int
allowed(void *arg, const struct sockaddr *sa)
{
    return tf_networks_allow(arg, sa) ? 0 : -1;
}


static int
server(const char *host, unsigned *port)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  in;

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    in.sin_port = htons((uint16_t) *port);
    (void) inet_pton(AF_INET, host, &in.sin_addr);
    len = sizeof(in);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &in, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &in, &len), 0);
    *port = ntohs(in.sin_port);

    return fd;
}


static int
connected(int fd)
{
    struct pollfd  p = { fd, POLLIN, 0 };

    if (poll(&p, 1, 100) != 1) {
        return 0;
    }

    (void) close(accept(fd, NULL, NULL));

    return 1;
}


static tf_stream_result_t
post(const char *host, unsigned port)
{
    char                 url[128], err[128];
    tf_networks_t        networks;
    tf_stream_pool_t    *pool;
    tf_stream_call_t     call;
    tf_stream_answer_t   answer;
    tf_stream_result_t   rc;

    assert_int_equal(tf_networks_parse(&networks, "127.0.0.2", err,
                                       sizeof(err)), 0);
    pool = tf_stream_pool_create();
    assert_non_null(pool);

    (void) snprintf(url, sizeof(url), "https://%s:%u/", host, port);
    memset(&call, 0, sizeof(call));
    call.url = url;
    call.json = "{}";
    call.connect_ms = TOTAL_MS;
    call.first_ms = TOTAL_MS;
    call.idle_ms = TOTAL_MS;
    call.total_ms = TOTAL_MS;
    call.check = allowed;
    call.arg = &networks;

    rc = tf_stream_post(pool, &call, &answer);
    tf_stream_answer_free(&answer);
    tf_stream_pool_destroy(pool);

    return rc;
}


static int64_t
ms(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
a_look_up_that_hangs_does_not_outlast_the_deadline(void **state)
{
    int64_t  began;

    (void) state;

    began = ms();
    assert_int_equal(post("hangs.test", 443), TF_STREAM_TIMEOUT);
    assert_true(ms() - began < 5 * TOTAL_MS);
    assert_int_equal(atomic_load(&slow), 1);

    /* who was left behind ends by itself */

    while (atomic_load(&slow) != 0 && ms() - began < 5 * HANGS_MS) {
        (void) poll(NULL, 0, 20);
    }

    assert_int_equal(atomic_load(&slow), 0);
    (void) poll(NULL, 0, 200);
}


static void
a_name_that_changes_its_meaning_leads_nowhere(void **state)
{
    int       out, in;
    unsigned  port;

    (void) state;

    port = 0;
    out = server("127.0.0.2", &port);
    in = server("127.0.0.1", &port);

    /* what it means first may be connected to, what it means then may not */

    atomic_store(&asked, 0);
    assert_int_not_equal(post("turns.test", port), TF_STREAM_CONNECT);
    assert_true(connected(out));
    assert_int_equal(post("turns.test", port), TF_STREAM_CONNECT);
    assert_int_equal(atomic_load(&asked), 2);
    assert_false(connected(in));

    /* nor is one of two addresses a way to the other */

    (void) post("both.test", port);
    assert_true(connected(out));
    assert_false(connected(in));

    (void) close(out);
    (void) close(in);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_look_up_that_hangs_does_not_outlast_the_deadline),
        cmocka_unit_test(a_name_that_changes_its_meaning_leads_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
