/* links: ngx_module/ngx_http_trifecta_fields.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_http_trifecta_fields.h"


/*
 * What a client may write into Prefer and If-None-Match, and what comes of
 * it.  Every value is parsed in memory of exactly its size.
 */

typedef struct {
    const char  *lines[3];
    int          value;     /* of the preference in question */
} prefer_case_t;


static const prefer_case_t  prefers[] = {
    { { "wait=5" }, 5 },
    { { "wait=0" }, 0 },
    { { "wait=60" }, 60 },
    { { "wait=61" }, 60 },
    { { "wait=99999999999999999999999" }, 60 },
    { { "wait=007" }, 7 },
    { { "WAIT=5" }, 5 },
    { { "Wait = 5" }, 5 },
    { { "  wait\t=\t5  " }, 5 },
    { { "wait=\"5\"" }, 5 },
    { { "wait=5; foo=bar" }, 5 },
    { { "wait=5;foo" }, 5 },
    { { "respond-async, wait=10" }, 10 },
    { { "respond-async,wait=10,handling=lenient" }, 10 },
    { { ",, ,wait=3" }, 3 },
    { { "foo; a=1, wait=4" }, 4 },
    { { "foo=\"a, wait=9\", wait=4" }, 4 },
    { { "foo=\"a\\\", wait=9\", wait=4" }, 4 },
    { { "junk junk =;, wait=6" }, 6 },
    { { "\x01\xff, wait=6" }, 6 },
    { { "respond-async", "wait=7" }, 7 },
    { { "", "foo=\"", "wait=8" }, 8 },

    /* only the first one counts */
    { { "wait=5, wait=9" }, 5 },
    { { "wait=5", "wait=9" }, 5 },
    { { "wait=x, wait=9" }, -1 },
    { { "wait, wait=9" }, -1 },

    { { "" }, -1 },
    { { "wait" }, -1 },
    { { "wait=" }, -1 },
    { { "wait=\"\"" }, -1 },
    { { "wait=-1" }, -1 },
    { { "wait=+1" }, -1 },
    { { "wait=1.5" }, -1 },
    { { "wait=5s" }, -1 },
    { { "wait=5 6" }, -1 },
    { { "wait=0x5" }, -1 },
    { { "wait=\"5" }, -1 },
    { { "wait=\"\\5\"" }, -1 },
    { { "wait:5" }, -1 },
    { { "waiting=5" }, -1 },
    { { "await=5" }, -1 },
    { { "foo;wait=5" }, -1 },
    { { "foo=wait=5" }, -1 },
    { { "foo=\"wait=5\"" }, -1 },
    { { "foo=\"a, wait=5" }, -1 },
    { { "foo wait=5" }, -1 },
};


static const prefer_case_t  durables[] = {
    { { "durable" }, 1 },
    { { "Durable" }, 1 },
    { { " durable " }, 1 },
    { { "durable=" }, 1 },
    { { "durable=\"\"" }, 1 },
    { { "durable; a=b" }, 1 },
    { { "durable;a" }, 1 },
    { { "durable, wait=5" }, 1 },
    { { "wait=5,durable" }, 1 },
    { { "wait=x, durable" }, 1 },
    { { "respond-async", "durable" }, 1 },
    { { "foo=\"a, b\", durable" }, 1 },
    { { "durable, durable=x" }, 1 },

    { { "durable=x, durable" }, 0 },
    { { "durable=1" }, 0 },
    { { "durable=\"0\"" }, 0 },
    { { "durable=\"" }, 0 },
    { { "durable=\"x" }, 0 },
    { { "durable x" }, 0 },
    { { "durable-ish" }, 0 },
    { { "nondurable" }, 0 },
    { { "foo=durable" }, 0 },
    { { "foo; durable" }, 0 },
    { { "foo=\"durable, durable" }, 0 },
    { { "foo durable" }, 0 },
    { { "" }, 0 },
};


typedef struct {
    const char  *value;
    int          match;     /* of "abc" */
} etag_case_t;


static const etag_case_t  etags[] = {
    { "\"abc\"", 1 },
    { "W/\"abc\"", 1 },
    { "*", 1 },
    { " * ", 1 },
    { "\"x\", \"abc\"", 1 },
    { "\"x\",W/\"abc\",\"y\"", 1 },
    { ",, \"abc\"", 1 },
    { "\"a,b\", \"abc\"", 1 },
    { "junk, \"abc\"", 1 },

    { "", 0 },
    { "abc", 0 },
    { "\"ab\"", 0 },
    { "\"abcd\"", 0 },
    { "\"ABC\"", 0 },
    { "\"abc", 0 },
    { "w/\"abc\"", 0 },
    { "*, \"x\"", 0 },
    { "\"x\", *", 0 },
    { "\"x, \"abc\"", 0 },
    { "W/", 0 },
    { "W/W/\"abc\"", 0 },
};


static char *
exact(const char *text)
{
    char    *p;
    size_t   len;

    len = strlen(text);
    p = malloc(len + (len == 0));
    assert_non_null(p);
    memcpy(p, text, len);

    return p;
}


static tf_prefer_t
parsed(const prefer_case_t *c)
{
    char         *line;
    size_t        k;
    tf_prefer_t   prefer = TF_PREFER_INIT;

    for (k = 0; k < 3 && c->lines[k] != NULL; k++) {
        line = exact(c->lines[k]);
        tf_prefer_parse(&prefer, line, strlen(c->lines[k]));
        free(line);
    }

    return prefer;
}


static void
wait_is_the_first_good_preference(void **state)
{
    size_t       i;
    tf_prefer_t  prefer;

    (void) state;

    for (i = 0; i < sizeof(prefers) / sizeof(prefers[0]); i++) {
        prefer = parsed(&prefers[i]);

        if (prefer.wait != prefers[i].value) {
            fail_msg("\"%s\": wait is %d, not %d", prefers[i].lines[0],
                     prefer.wait, prefers[i].value);
        }
    }
}


static void
durable_is_a_preference_without_a_value(void **state)
{
    size_t       i;
    tf_prefer_t  prefer;

    (void) state;

    for (i = 0; i < sizeof(durables) / sizeof(durables[0]); i++) {
        prefer = parsed(&durables[i]);

        if (prefer.durable != durables[i].value) {
            fail_msg("\"%s\": durable is %d, not %d", durables[i].lines[0],
                     prefer.durable, durables[i].value);
        }
    }
}


static void
if_none_match_finds_a_tag(void **state)
{
    int     match;
    char   *value;
    size_t  i;

    (void) state;

    for (i = 0; i < sizeof(etags) / sizeof(etags[0]); i++) {
        value = exact(etags[i].value);
        match = tf_etag_match(value, strlen(etags[i].value), "\"abc\"", 5);
        free(value);

        if (match != etags[i].match) {
            fail_msg("%s: %d, not %d", etags[i].value, match,
                     etags[i].match);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(wait_is_the_first_good_preference),
        cmocka_unit_test(durable_is_a_preference_without_a_value),
        cmocka_unit_test(if_none_match_finds_a_tag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
