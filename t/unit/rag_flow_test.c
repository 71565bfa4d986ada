/* links: sidecar/rag/flow.c sidecar/rag/cite.c sidecar/rag/support.c
   sidecar/rag/safe.c sidecar/rag/safe_scan.c sidecar/rag/safe_url.c
   sidecar/rag/safe_tag.c
   sidecar/rag/safe_json.c sidecar/rag/units.c
   sidecar/extract/blocks.c
   sidecar/extract/text.c sidecar/extract/meta.c sidecar/base/buf.c */

/* A model's text on its way: what leaves, when, and that it stays so. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rag/flow.h"


static const tf_llm_passage_t  passages[] = {
    { 1, "doc-1", "a.md", "Timeouts", "proxy_read_timeout",
      "Defines a timeout for reading a response from the proxied server. The "
      "default is 60s. The timeout is set only between two successive read "
      "operations. See https://nginx.org/en/docs/ for more.", 0, 3.0 },
    { 2, "doc-2", "b.md", "Buffers", "proxy_buffers",
      "Sets the number and size of the buffers used for reading a response, "
      "for a single connection. By default eight buffers of one page.", 0,
      2.0 },
};

static const tf_llm_request_t  request = {
    .question = "How long is the timeout?", .passages = passages,
    .npassages = 2
};

/* What texts are made of: all that is held back somewhere, and prose. */

static const char *const  parts[] = {
    "The default timeout for reading a response is 60s", " [1]", "[2]", "[1",
    "]", "[1, 2]", " [ 7 ]", "(", ")", "https://", "nginx.org/en/docs/",
    "https://evil.example/?q=", "!", "![", "](", "<", "img ", "script>", "/",
    "//evil.example/", "`", "```", "``", "\n", "\n\n", " ", ". ", "javascript:",
    "data:", "alert(1)", "世界", "é", "🙂", "a", "there are eight buffers",
    "ht", "tps:", "\"", "'", "[x]", ":", "NOT FOUND",
    "|@", "\\", "&#58;", "@", "|", "[x](", "[x]: ", "(<", ">", "![a\\]",
    "smb:", "mailto:", "x@evil", "std::", "+.-", "k", "](smb://evil/x)",
    "\xff", "\xe4\xb8", "<div ", "onclick=x", "<b>", "</p", "<!--",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "                                                                "
};

/* and what else there is in JSON */

static const char *const  escapes[] = {
    "{\"a\": \"", "\", \"b\": [1]}", "\\u0068", "ttps:", "\\/\\/", "\\u", "00",
    "3c", "\\ud83d", "\\ude00", "\\n", "\\x", "\\\"", "\\\\",
    "<b onclick", "=x>",
    "\\u003d", "\\u0000", "nginx.org/en/docs/"
};

#define NESCAPES  (sizeof(escapes) / sizeof(escapes[0]))

/* that there is one is all that is asked */

static const json_t            format;
static const tf_llm_options_t  as_json = { .format = &format };

#define NPARTS  (sizeof(parts) / sizeof(parts[0]))

typedef struct {
    tf_buf_t   all;
    tf_buf_t   pieces;          /* each with a "|" behind it */
    int        bad;             /* a piece was cut within a character */
    int        full;            /* it takes so many and no more */
} left_t;

static uint64_t  seed = 88172645463325252u;


static size_t
roll(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (size_t) (seed % n);
}


static int
leaves(void *arg, const char *data, size_t len)
{
    left_t  *left = arg;

    if (left->full && --left->full == 0) {
        return -1;
    }

    assert_true(len > 0);
    left->bad |= ((unsigned char) data[0] & 0xc0) == 0x80;
    tf_buf_append(&left->all, data, len);
    tf_buf_append(&left->pieces, data, len);
    tf_buf_puts(&left->pieces, "|");

    return 0;
}


static void
forget(left_t *left, tf_flow_t *f)
{
    tf_buf_free(&left->all);
    tf_buf_free(&left->pieces);
    tf_flow_free(f);
}


/* What leaves when the pieces, each ended by a "|", come one after another. */

static void
flows_of(const tf_llm_request_t *asked, const char *pieces, const char *want)
{
    size_t     n;
    left_t     left;
    tf_flow_t  f;

    memset(&left, 0, sizeof(left));
    tf_flow_begin(&f, asked, leaves, &left);
    tf_buf_puts(&left.pieces, "");

    for ( /* void */ ; *pieces; pieces += n + 1) {
        n = strcspn(pieces, "|");
        assert_int_equal(tf_flow_text(&f, pieces, n), 0);
        tf_buf_puts(&left.pieces, "/");
    }

    assert_int_equal(tf_flow_end(&f), 0);
    assert_string_equal(left.pieces.data, want);
    forget(&left, &f);
}


static void
flows(const char *pieces, const char *want)
{
    flows_of(&request, pieces, want);
}


static void
any_cut_of_any_text_comes_to_the_same(void **state)
{
    int        i, cut;
    size_t     k, n, pos, max, had;
    left_t     left;
    tf_buf_t   text = TF_BUF_INIT;
    tf_flow_t  whole, f;

    const tf_llm_request_t  *asked;
    tf_llm_request_t         json;

    (void) state;

    json = request;
    json.options = &as_json;

    for (i = 0; i < 3000; i++) {
        tf_buf_reset(&text);
        tf_buf_puts(&text, "");

        /* some are longer than what is remembered of a text */

        for (k = 1 + roll(i % 200 == 0 ? 2000 : 24); k > 0; k--) {
            tf_buf_puts(&text, i % 3 == 0 && roll(2)
                               ? escapes[roll(NESCAPES)]
                               : parts[roll(NPARTS)]);
        }

        asked = i % 3 == 0 ? &json : &request;
        tf_flow_begin(&whole, asked, NULL, NULL);
        assert_int_equal(tf_flow_text(&whole, text.data, text.len), 0);
        assert_int_equal(tf_flow_end(&whole), 0);

        for (cut = 0; cut < 3; cut++) {
            memset(&left, 0, sizeof(left));
            tf_flow_begin(&f, asked, leaves, &left);
            max = cut == 0 ? 1 : cut == 1 ? 7 : 300;

            for (pos = 0; pos < text.len; pos += n) {
                n = 1 + roll(max);
                n = n > text.len - pos ? text.len - pos : n;
                had = left.all.len;
                assert_int_equal(tf_flow_text(&f, text.data + pos, n), 0);

                /* never more than the bounds say, and never taken back */

                assert_true(f.cite.in.len - f.cite.pos <= TF_CITE_CODE);
                assert_true(f.safe.in.len <= TF_SAFE_URL);
                assert_true(left.all.len <= whole.body.len);

                if (left.all.len > had) {
                    assert_memory_equal(left.all.data + had,
                                        whole.body.data + had,
                                        left.all.len - had);
                }
            }

            assert_int_equal(tf_flow_end(&f), 0);

            assert_int_equal(left.all.len, whole.body.len);
            assert_memory_equal(left.all.data ? left.all.data : "",
                                whole.body.data, whole.body.len);
            assert_string_equal(f.body.data, whole.body.data);
            assert_int_equal(f.cite.ncitations, whole.cite.ncitations);
            assert_memory_equal(f.cite.citations, whole.cite.citations,
                                f.cite.ncitations * sizeof(tf_llm_quote_t));
            assert_int_equal(f.cite.dropped, whole.cite.dropped);
            assert_int_equal(f.safe.removed, whole.safe.removed);

            forget(&left, &f);
        }

        tf_flow_free(&whole);
    }

    tf_buf_free(&text);
}


static void
text_without_marks_and_links_leaves_at_once(void **state)
{
    (void) state;

    flows("The |sky |is blue, |and so on|.|",
          "The |/sky |/is blue, |/and so on|/.|/");
    flows("a < b |(c) |{d}|\n|", "a < b |/(c) |/{d}|/\n|/");
}


static void
a_mark_leaves_as_soon_as_it_is_decided(void **state)
{
    (void) state;

    flows("The default is 60s| [|1|]|.| More|",
          "The default is 60s|/ |///[1].|/ More|/");
    flows("The default is 60s [1]|", "The default is 60s |/[1]|");
    flows("The default is 60s [9]|(x)|", "The default is 60s |/[9](x)|/");
    flows("Bananas are yellow [1]| .|", "Bananas are yellow |/ .|/");
    flows("[20|24] was|", "/[2024] was|/");
}


static void
a_link_leaves_when_it_has_ended(void **state)
{
    (void) state;

    flows("See h|ttps://ng|inx.org/en/docs/|. And|",
          "See |///https://nginx.org/en/docs/. And|/");
    flows("See https://evil.example/?q=|x and|",
          "See |/[link removed] and|/");
    flows("so h|ow?|", "so |/how?|/");
    flows("<scr|ipt>|", "/&lt;script>|/");
    flows("x ![l|ogo](https://evil.example/?q=1|) y|", "x |//logo y|/");
}


static void
a_tag_leaves_when_it_is_known_to_be_harmless(void **state)
{
    (void) state;

    flows("a <d|iv onc|lick|=x> b|", "a |///&lt;div onclick=x> b|/");
    flows("a <e|m>b|", "a |/<em>b|/");
    flows("a <d|iv|", "a |//&lt;div|");
}


/* "|" cuts, so it is not in them. */

static void
in_JSON_is_judged_what_a_string_means(void **state)
{
    tf_llm_request_t  json;

    (void) state;

    json = request;
    json.options = &as_json;

    flows_of(&json, "{\"a\":\"\\u0068ttps:\\/\\/evil.example\\/?q=1\"}|",
             "{\"a\":\"[link removed]\"}|/");
    flows_of(&json, "{\"a\":\"\\u0|068ttps:\\|/\\/evil.ex|ample\"}|",
             "{\"a\":\"|///[link removed]\"}|/");
    flows_of(&json, "[\"https:\\/\\/nginx.org\\/en\\/docs\\/\"]|",
             "[\"https://nginx.org/en/docs/\"]|/");
    flows_of(&json, "[\"\\u003cdiv onclick\\u003dx>\"]|",
             "[\"&lt;div onclick=x>\"]|/");
    flows_of(&json, "[\"\\ud83d\\ude00 \\ud83d. \\u0007\\n\\\"\\\\\"]|",
             "[\"\360\237\230\200 \357\277\275. \\u0007\\n\\\"\\\\\"]|/");
    flows_of(&json, "{\"a\": [[1], [2]], \"b\": \"x![1]\"}|",
             "{\"a\": [[1], [2]], \"b\": \"x![1]\"}|/");
    flows_of(&json, "no <b onclick=\"x\"> JSON|",
             "no &lt;b onclick=\"x\"> JSON|/");
}


static void
the_beginning_of_a_known_link_is_another_link(void **state)
{
    (void) state;

    flows("See https://nginx.org/en/docs/ |.|",
          "See https://nginx.org/en/docs/ |/.|/");
    flows("See https://nginx.org/en/doc |.|", "See [link removed] |/.|/");
    flows("See https://ngin |.|", "See [link removed] |/.|/");
}


static void
code_leaves_as_it_stands(void **state)
{
    (void) state;

    flows("```\na[1] |= b[2];\n|```\nis 60s default [7]|.|",
          "```\na[1] |/= b[2];\n|/```\nis 60s default |/[1].|/");
    flows("use `a[1|]` there|", "use |/`a[1]` there|/");
    flows("bananas `ripen[1|] there\n|", "bananas |/`ripen there\n|/");
}


static void
characters_leave_whole(void **state)
{
    left_t             left;
    size_t             i;
    tf_flow_t          f;
    static const char  text[] = "Grüße, 世界 🙂";

    (void) state;

    flows("\xe4|\xb8|\x96|\xe7\x95|\x8c|", "//世|//界|/");

    memset(&left, 0, sizeof(left));
    tf_flow_begin(&f, &request, leaves, &left);

    for (i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(tf_flow_text(&f, &text[i], 1), 0);
    }

    assert_int_equal(tf_flow_end(&f), 0);
    assert_string_equal(left.all.data, text);
    assert_false(left.bad);
    forget(&left, &f);
}


static void
a_mark_that_goes_makes_no_link_of_its_neighbours(void **state)
{
    (void) state;

    flows("Bananas ht[9]tps://evil.example/ [x|](https://evil.example/)|",
          "Bananas [link removed] [x|/]([link removed])|/");
    flows("Bananas <[9]script>|", "Bananas &lt;script>|/");
}


static void
a_reset_forgets_what_came(void **state)
{
    left_t     left;
    tf_flow_t  f;

    (void) state;

    memset(&left, 0, sizeof(left));
    tf_flow_begin(&f, &request, leaves, &left);

    assert_int_equal(tf_flow_text(&f, "The default is 60s [1]. ![", 26), 0);
    tf_flow_reset(&f);
    tf_buf_reset(&left.all);
    assert_int_equal(tf_flow_text(&f, "There are eight buffers [2].", 28), 0);
    assert_int_equal(tf_flow_end(&f), 0);

    assert_string_equal(left.all.data, "There are eight buffers [1].");
    assert_string_equal(f.body.data, left.all.data);
    assert_int_equal(f.cite.ncitations, 1);
    assert_int_equal(f.cite.citations[0].passage, 1);
    forget(&left, &f);
}


static void
who_takes_no_more_is_given_no_more(void **state)
{
    left_t     left;
    tf_flow_t  f;

    (void) state;

    memset(&left, 0, sizeof(left));
    left.full = 2;
    tf_flow_begin(&f, &request, leaves, &left);

    assert_int_equal(tf_flow_text(&f, "one ", 4), 0);
    assert_int_equal(tf_flow_text(&f, "two ", 4), -1);
    assert_string_equal(left.all.data, "one ");
    forget(&left, &f);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(any_cut_of_any_text_comes_to_the_same),
        cmocka_unit_test(text_without_marks_and_links_leaves_at_once),
        cmocka_unit_test(a_mark_leaves_as_soon_as_it_is_decided),
        cmocka_unit_test(a_link_leaves_when_it_has_ended),
        cmocka_unit_test(a_tag_leaves_when_it_is_known_to_be_harmless),
        cmocka_unit_test(in_JSON_is_judged_what_a_string_means),
        cmocka_unit_test(the_beginning_of_a_known_link_is_another_link),
        cmocka_unit_test(code_leaves_as_it_stands),
        cmocka_unit_test(characters_leave_whole),
        cmocka_unit_test(a_mark_that_goes_makes_no_link_of_its_neighbours),
        cmocka_unit_test(a_reset_forgets_what_came),
        cmocka_unit_test(who_takes_no_more_is_given_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
