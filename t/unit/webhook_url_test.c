/* links: */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <trifecta/webhook.h>


static int
public_(const char *text)
{
    unsigned char  octets[16];

    memset(octets, 0, sizeof(octets));

    if (strchr(text, ':') != NULL) {
        assert_int_equal(inet_pton(AF_INET6, text, octets), 1);

    } else {
        octets[10] = octets[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, text, octets + 12), 1);
    }

    return tf_address_public(octets);
}


static void
only_addresses_of_the_internet_are_public(void **state)
{
    size_t  i;

    static const char *const  yes[] = {
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
        "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888",
        "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1",
        "2a00:1450:4001::200e"
    };

    static const char *const  no[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
        "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
        "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255",
        "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0",
        "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8",
        "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1.1.1.1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
        "2001:0:53aa:64c:0:fbff:fefe:fefe", "2001:db8::1", "3fff::1",
        "3ffe::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fec0::1", "ff02::1", "4000::1"
    };

    (void) state;

    for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (!public_(yes[i])) {
            fail_msg("%s is public", yes[i]);
        }
    }

    for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        if (public_(no[i])) {
            fail_msg("%s is not public", no[i]);
        }
    }
}


static void
a_socket_address_is_read_as_octets(void **state)
{
    unsigned char            octets[16], want[16];
    struct sockaddr_in      *in;
    struct sockaddr_in6      in6;
    struct sockaddr_storage  other;

    (void) state;

    /* with room for any family: the compiler looks at each of them */

    memset(&other, 0, sizeof(other));
    in = (struct sockaddr_in *) &other;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(0x7f000001);
    assert_int_equal(tf_address_octets(octets, (struct sockaddr *) in), 0);
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", want), 1);
    assert_memory_equal(octets, want, 16);

    memset(&in6, 0, sizeof(in6));
    in6.sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::7", want), 1);
    memcpy(&in6.sin6_addr, want, 16);
    assert_int_equal(tf_address_octets(octets, (struct sockaddr *) &in6), 0);
    assert_memory_equal(octets, want, 16);

    memset(&other, 0, sizeof(other));
    other.ss_family = AF_UNIX;
    assert_int_equal(tf_address_octets(octets, (struct sockaddr *) &other),
                     -1);
}


static const char *
check(const char *url, tf_webhook_host_t *h)
{
    return tf_webhook_url(url, strlen(url), h);
}


static void
a_url_is_https_with_a_host_and_nothing_secret(void **state)
{
    size_t             i;
    tf_webhook_host_t  h;

    static const struct {
        const char  *url;
        const char  *host;
        int          literal;
        int          inside;
    } good[] = {
        { "https://hooks.example.com/a?b=c", "hooks.example.com", 0, 0 },
        { "HTTPS://Hooks.Example.COM", "hooks.example.com", 0, 0 },
        { "https://hooks.example.com.:8443/x", "hooks.example.com", 0, 0 },
        { "https://localhost?x", "localhost", 0, 0 },
        { "https://xn--bcher-kva.example/", "xn--bcher-kva.example", 0, 0 },
        { "https://1.1.1.1:443/", "1.1.1.1", 1, 0 },
        { "https://127.0.0.1/", "127.0.0.1", 1, 1 },
        { "https://[::1]:8443/", "::1", 1, 1 },
        { "https://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1", 1, 1 },
        { "https://[2606:4700::1111]/", "2606:4700::1111", 1, 0 },
        { "https://a.example/p@q", "a.example", 0, 0 }
    };

    static const char *const  bad[] = {
        "", "https://", "https:///x", "http://a.example/", "ftp://a.example/",
        "a.example", "https:a.example", "https://u@a.example/",
        "https://u:p@a.example/", "https://:443/", "https://a.example:/",
        "https://a.example:0/", "https://a.example:65536/",
        "https://a.example:8o/", "https://a..example/", "https://.a/",
        "https://a.example/ x", "https://a.example/\x01", "https://\xc3\xa4/",
        "https://a.example/#f", "https://a.example\\@b.example/",
        "https://a%2eexample/", "https://[::1/", "https://[]/",
        "https://[::1]x/", "https://[fe80::1%25eth0]/", "https://[v1.x]/",
        "https://127.1/", "https://2130706433/", "https://0x7f000001/",
        "https://0177.0.0.1/", "https://a.0x1f/", "https://1.2.3.256/",
        "https://1.2.3.4.5/", "https://./"
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (check(good[i].url, &h) != NULL) {
            fail_msg("%s: %s", good[i].url, check(good[i].url, &h));
        }

        assert_string_equal(h.host, good[i].host);
        assert_int_equal(h.literal, good[i].literal);
        assert_int_equal(h.inside, good[i].inside);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (check(bad[i], &h) == NULL) {
            fail_msg("%s is taken", bad[i]);
        }
    }

    assert_non_null(tf_webhook_url("https://a\0b.example/", 20, &h));
}


static void
a_url_is_as_long_as_it_may_be(void **state)
{
    char               url[TF_WEBHOOK_URL_MAX + 2];
    char               host[TF_WEBHOOK_HOST_MAX + 16];
    size_t             n;
    tf_webhook_host_t  h;

    (void) state;

    memset(url, 'x', sizeof(url));
    memcpy(url, "https://a.example/", 18);
    assert_null(tf_webhook_url(url, TF_WEBHOOK_URL_MAX, &h));
    assert_non_null(tf_webhook_url(url, TF_WEBHOOK_URL_MAX + 1, &h));

    /* 253 characters of a name, in labels of at most 63 */

    for (n = 0; n < TF_WEBHOOK_HOST_MAX + 1; n++) {
        host[8 + n] = n % 64 == 63 ? '.' : 'a';
    }

    memcpy(host, "https://", 8);
    assert_null(tf_webhook_url(host, 8 + TF_WEBHOOK_HOST_MAX, &h));
    assert_int_equal(strlen(h.host), TF_WEBHOOK_HOST_MAX);
    assert_non_null(tf_webhook_url(host, 8 + TF_WEBHOOK_HOST_MAX + 1, &h));

    host[8 + 63] = 'a';
    assert_non_null(tf_webhook_url(host, 8 + TF_WEBHOOK_HOST_MAX, &h));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(only_addresses_of_the_internet_are_public),
        cmocka_unit_test(a_socket_address_is_read_as_octets),
        cmocka_unit_test(a_url_is_https_with_a_host_and_nothing_secret),
        cmocka_unit_test(a_url_is_as_long_as_it_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
