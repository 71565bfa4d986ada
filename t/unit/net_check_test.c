/* links: sidecar/net/ sidecar/base/buf.c sidecar/jobs/webhook_sign.c */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include <cmocka.h>

#include "jobs/webhook.h"
#include "net/networks.h"
#include "net/stream.h"


typedef struct {
    tf_networks_t   networks;
    unsigned        asked;
    int             family;
} asker_t;


static int
ask(void *arg, const struct sockaddr *sa)
{
    asker_t  *a = arg;

    a->asked++;
    a->family = sa->sa_family;

    return tf_networks_allow(&a->networks, sa) ? 0 : -1;
}


static int
drop(void *arg, const char *data, size_t len)
{
    (void) arg;
    (void) data;
    (void) len;

    return 0;
}


/* A server that accepts and never says anything; its port. */

static int
server(unsigned *port)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  in;

    memset(&in, 0, sizeof(in));
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(0x7f000001);
    len = sizeof(in);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &in, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &in, &len), 0);
    *port = ntohs(in.sin_port);

    return fd;
}


/* Whether somebody has connected; that connection is over then. */

static int
connected(int fd)
{
    int            c;
    struct pollfd  p = { fd, POLLIN, 0 };

    if (poll(&p, 1, 100) != 1) {
        return 0;
    }

    c = accept(fd, NULL, NULL);
    (void) close(c);

    return 1;
}


static tf_stream_result_t
post(tf_stream_pool_t *pool, const char *scheme, const char *host,
    unsigned port, asker_t *a)
{
    char                 url[128];
    tf_stream_call_t     call;
    tf_stream_answer_t   answer;
    tf_stream_result_t   rc;

    (void) snprintf(url, sizeof(url), "%s://%s:%u/", scheme, host, port);
    memset(&call, 0, sizeof(call));
    call.url = url;
    call.json = "{}";
    call.connect_ms = 500;
    call.first_ms = 300;
    call.idle_ms = 300;
    call.total_ms = 300;
    call.data = drop;
    call.check = ask;
    call.arg = a;

    rc = tf_stream_post(pool, &call, &answer);
    tf_stream_answer_free(&answer);

    return rc;
}


static void
an_address_is_asked_about_at_each_connection(void **state)
{
    int                fd;
    char               err[128];
    size_t             i;
    asker_t            a;
    unsigned           port;
    tf_stream_pool_t  *pool;

    static const char *const  hosts[] = {
        "127.0.0.1", "localhost", "0.0.0.0", "127.1", "0x7f000001",
        "2130706433", "[::ffff:127.0.0.1]"
    };

    (void) state;

    fd = server(&port);
    pool = tf_stream_pool_create();
    assert_non_null(pool);

    /* nothing private: no way in, however it is written */

    for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        memset(&a, 0, sizeof(a));
        assert_int_equal(post(pool, "https", hosts[i], port, &a),
                         TF_STREAM_CONNECT);
        assert_true(a.asked > 0);
        assert_false(connected(fd));
    }

    /* it leads there when that is allowed, and not when it is no more */

    assert_int_equal(tf_networks_parse(&a.networks, "127.0.0.0/8", err,
                                       sizeof(err)), 0);
    assert_int_not_equal(post(pool, "https", "127.0.0.1", port, &a),
                         TF_STREAM_CONNECT);
    assert_true(connected(fd));

    memset(&a, 0, sizeof(a));
    assert_int_equal(post(pool, "https", "127.0.0.1", port, &a),
                     TF_STREAM_CONNECT);
    assert_int_equal(a.family, AF_INET);
    assert_false(connected(fd));

    /* no other scheme, and no proxy */

    assert_int_equal(tf_networks_parse(&a.networks, "127.0.0.0/8", err,
                                       sizeof(err)), 0);
    assert_int_equal(post(pool, "http", "127.0.0.1", port, &a),
                     TF_STREAM_URL);
    assert_false(connected(fd));

    (void) snprintf(err, sizeof(err), "http://127.0.0.1:%u", port);
    assert_int_equal(setenv("https_proxy", err, 1), 0);
    assert_int_equal(post(pool, "https", "192.0.2.1", port, &a),
                     TF_STREAM_CONNECT);
    assert_false(connected(fd));
    assert_int_equal(unsetenv("https_proxy"), 0);

    tf_stream_pool_destroy(pool);
    (void) close(fd);
}


static int
allows(const char *networks, const char *address)
{
    char                 err[128];
    tf_networks_t        n;
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;

    assert_int_equal(tf_networks_parse(&n, networks, err, sizeof(err)), 0);

    if (strchr(address, ':') == NULL) {
        memset(&in, 0, sizeof(in));
        in.sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
        return tf_networks_allow(&n, (struct sockaddr *) &in);
    }

    memset(&in6, 0, sizeof(in6));
    in6.sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);

    return tf_networks_allow(&n, (struct sockaddr *) &in6);
}


static void
networks_that_are_named_are_allowed_too(void **state)
{
    char           err[128];
    size_t         i;
    tf_networks_t  n;

    static const char *const  bad[] = {
        "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "fd00::/x", "a",
        "10.0.0.0/-1", "10.0.0.0/8x", "1.2.3.4/8/8", "localhost",
        "0000000000000000000000000000000000000000000000000000000000000000000"
    };

    (void) state;

    assert_true(allows("", "1.1.1.1"));
    assert_false(allows("", "10.0.0.1"));
    assert_true(allows("10.0.0.0/8", "10.255.255.255"));
    assert_false(allows("10.0.0.0/8", "172.16.0.1"));
    assert_true(allows("192.168.1.7", "192.168.1.7"));
    assert_false(allows("192.168.1.7", "192.168.1.8"));
    assert_true(allows("10.0.0.0/9 , fd00::/8", "fd12::1"));
    assert_false(allows("10.0.0.0/9,fd00::/8", "10.128.0.0"));
    assert_true(allows("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_false(allows("10.0.0.0/8", "::10.1.2.3"));
    assert_false(allows("fd00::/8", "fe80::1"));
    assert_true(allows("0.0.0.0/0", "127.0.0.1"));
    assert_false(allows("0.0.0.0/0", "::1"));

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (tf_networks_parse(&n, bad[i], err, sizeof(err)) == 0) {
            fail_msg("%s is a network", bad[i]);
        }
    }
}


/* Standard Webhooks' form, with a secret that any other program can make. */

static void
a_tenants_secret_is_its_own(void **state)
{
    int                    fd;
    char                   name[] = "/tmp/webhook-key-XXXXXX", err[256];
    char                   text[TF_WEBHOOK_SECRET_TEXT];
    tf_buf_t               body = TF_BUF_INIT, out = TF_BUF_INIT;
    tf_webhook_secrets_t   one, two;

    static const char  keys[] =
        "0123456789abcdef0123456789abcdef\n"
        "fedcba9876543210fedcba9876543210\n";

    (void) state;

    fd = mkstemp(name);
    assert_true(fd != -1);
    assert_int_equal(write(fd, keys, sizeof(keys) - 1), sizeof(keys) - 1);
    (void) close(fd);

    assert_int_equal(tf_webhook_secrets(&one, name, "a", err, sizeof(err)), 0);
    assert_int_equal(tf_webhook_secrets(&two, name, "b", err, sizeof(err)), 0);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(one.n, 2);
    assert_memory_not_equal(one.secret[0], two.secret[0],
                            TF_WEBHOOK_SECRET_LEN);
    assert_memory_not_equal(one.secret[0], one.secret[1],
                            TF_WEBHOOK_SECRET_LEN);

    /* printf 'trifecta webhook\0a' | openssl dgst -sha256 -hmac 0123... */

    tf_webhook_secret_text(one.secret[0], text);
    assert_string_equal(text, "whsec_OG2dF6mxXEllpli3SE4axlpAoxNqeEUox3UI5IM2DKs=");

    tf_buf_puts(&body, "{}");
    assert_int_equal(tf_webhook_sign(&one, "msg_1", "1", &body, &out), 0);
    assert_int_equal(out.len, 2 * (3 + 44) + 1);
    assert_memory_equal(out.data, "v1,", 3);
    assert_memory_equal(out.data + 47, " v1,", 4);

    tf_buf_free(&body);
    tf_buf_free(&out);

    assert_int_equal(tf_webhook_secrets(&one, "", "a", err, sizeof(err)), -1);
    assert_int_equal(tf_webhook_secrets(&one, name, "a", err, sizeof(err)),
                     -1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(an_address_is_asked_about_at_each_connection),
        cmocka_unit_test(networks_that_are_named_are_allowed_too),
        cmocka_unit_test(a_tenants_secret_is_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
