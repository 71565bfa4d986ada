/* links: sidecar/extract/ sidecar/base/buf.c */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "extract/extract.h"


static tf_text_t  text;
static char       err[256];


static void
extract(const char *name, const char *data)
{
    err[0] = '\0';
    assert_int_equal(tf_extract(NULL, name, data, strlen(data), &text, err,
                                sizeof(err)), 0);
}


static void
refuse(const char *name, const char *data, size_t len, const char *why)
{
    err[0] = '\0';
    assert_int_equal(tf_extract(NULL, name, data, len, &text, err, sizeof(err)),
                     -1);
    if (strstr(err, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err, why);
    }
}


static void
block(size_t i, tf_block_kind_t kind, const char *section, const char *body)
{
    size_t  len;

    assert_true(i < text.nblocks);
    len = text.blocks[i].end - text.blocks[i].start;
    assert_string_equal(text.sections[text.blocks[i].section], section);
    assert_int_equal(text.blocks[i].kind, kind);

    if (len != strlen(body)
        || memcmp(text.data + text.blocks[i].start, body, len) != 0)
    {
        fail_msg("block %zu is \"%.*s\", not \"%s\"", i, (int) len,
                 text.data + text.blocks[i].start, body);
    }
}


static void
test_formats(void **state)
{
    (void) state;

    assert_string_equal(tf_extract_format("a/b.MD"), "md");
    assert_string_equal(tf_extract_format("x.txt"), "txt");
    assert_string_equal(tf_extract_format("x.xml"), "xml");
    assert_null(tf_extract_format("x.png"));
    assert_null(tf_extract_format(".md"));
    assert_null(tf_extract_format("md"));
    assert_null(tf_extract_format(""));
}


static void
test_refused(void **state)
{
    char  *big;

    (void) state;

    refuse("a.png", "x", 1, "format");
    refuse("a.txt", "a\0b", 3, "NUL");
    refuse("a.txt", "ab\xff", 3, "UTF-8 at byte 2");
    refuse("a.md", "\xc0\xaf", 2, "UTF-8 at byte 0");
    refuse("a.md", "\xed\xa0\x80", 3, "UTF-8");
    refuse("a.md", "abc \xe2\x82", 6, "UTF-8 at byte 4");
    refuse("a.md", "", 0, "no text");
    refuse("a.md", " \n\n", 3, "no text");
    refuse("a.md", "---\ntitle: x\n---\n", 17, "no text");

    big = malloc(16 * TF_MB + 1);
    assert_non_null(big);
    memset(big, 'a', 16 * TF_MB + 1);
    refuse("a.txt", big, 16 * TF_MB + 1, "larger than 16 MB (limit text=16m)");
    refuse("a.txt", big, TF_MB + 1, "line 1 has 1048577 bytes (limit line=1m)");
    free(big);
}


static void
test_txt(void **state)
{
    (void) state;

    extract("notes/one.two.txt", "\xef\xbb\xbf" "First line\nof it.\r\n\r\n"
            "# no heading\n\n- a\n- b\n\nA: 1\nBee two: 2\n");
    assert_string_equal(text.title, "one.two");
    assert_string_equal(text.format, "txt");
    assert_int_equal(text.nblocks, 4);
    block(0, TF_BLOCK_PROSE, "", "First line\nof it.");
    assert_int_equal(text.blocks[0].start, 3);
    block(1, TF_BLOCK_PROSE, "", "# no heading");
    block(2, TF_BLOCK_LIST, "", "- a\n- b");
    block(3, TF_BLOCK_FIELDS, "", "A: 1\nBee two: 2");
    tf_text_free(&text);
}


static void
test_md(void **state)
{
    (void) state;

    extract("x.md",
            "---\ntitle: \"The title\"\nweight: 1\n---\n"
            "# Top {#top}\n\nHello\nworld.\n\n"
            "{{< note >}}\nNoted.\n{{< /note >}}\n\n"
            "<!-- hidden\nstill hidden -->\n\n"
            "## Sub ##\n"
            "```sh\n# not a heading\n\nls\n```\n"
            "| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            "1. one\n\n   more of one\n2. two\n   ```\n   code\n   ```\n\n"
            "Under\n-----\nText\n\n    indented\n      code\n\n"
            "# Second\nEnd.\n");
    assert_string_equal(text.title, "The title");
    block(0, TF_BLOCK_PROSE, "Top", "Hello\nworld.");
    block(1, TF_BLOCK_PROSE, "Top", "Noted.");
    block(2, TF_BLOCK_CODE, "Top > Sub",
          "```sh\n# not a heading\n\nls\n```");
    block(3, TF_BLOCK_TABLE, "Top > Sub",
          "| a | b |\n|---|---|\n| 1 | 2 |");
    block(4, TF_BLOCK_LIST, "Top > Sub", "1. one\n\n   more of one\n2. two\n"
          "   ```\n   code\n   ```");
    block(5, TF_BLOCK_PROSE, "Top > Under", "Text");
    block(6, TF_BLOCK_CODE, "Top > Under", "    indented\n      code");
    block(7, TF_BLOCK_PROSE, "Second", "End.");
    assert_int_equal(text.nblocks, 8);
    tf_text_free(&text);
}


static void
test_md_title(void **state)
{
    (void) state;

    extract("x.md", "# The heading\n\nText.\n\n## Part\n\nMore.\n");
    assert_string_equal(text.title, "The heading");
    block(0, TF_BLOCK_PROSE, "", "Text.");
    block(1, TF_BLOCK_PROSE, "Part", "More.");
    tf_text_free(&text);

    extract("dir/name.md", "---\nnot: closed\n\nText.\n");
    assert_string_equal(text.title, "name");
    tf_text_free(&text);

    extract("x.md", "+++\ntitle = 'Toml'\n+++\nText.");
    assert_string_equal(text.title, "Toml");
    block(0, TF_BLOCK_PROSE, "", "Text.");
    assert_int_equal(text.blocks[0].end, text.len);
    tf_text_free(&text);

    extract("x.md", "```\nnever closed\n# x\n");
    block(0, TF_BLOCK_CODE, "", "```\nnever closed\n# x");
    tf_text_free(&text);
}


static const char  module[] =
    "<?xml version=\"1.0\"?>\n"
    "<!-- c -->\n"
    "<!DOCTYPE module SYSTEM \"../dtd/module.dtd\">\n"
    "<module name=\"Module m\" lang=\"en\">\n"
    "<section id=\"summary\">\n<para>\nThe <literal>m</literal> module&mdash;"
    "a\nsmall &unknown; one.\n</para>\n</section>\n"
    "<section id=\"d\" name=\"Directives\">\n"
    "<directive name=\"proxy_read_timeout\">\n"
    "<syntax><value>time</value></syntax>\n<default>60s</default>\n"
    "<context>http</context>\n<context>server</context>\n"
    "<appeared-in>1.2.3</appeared-in>\n"
    "<para>\nSee <link id=\"other\"/> and\n<link doc=\"a.xml\">this</link>.\n"
    "<example>\nif (a &lt; b) {\n    x;\n}\n</example>\n"
    "<list type=\"bullet\">\n<listitem>\n<para>one</para>\n</listitem>\n"
    "<listitem>two <list><listitem>deep</listitem></list></listitem>\n"
    "</list>\n</para>\n</directive>\n"
    "<directive name=\"empty\">\n<syntax block=\"yes\"></syntax>\n"
    "<default/>\n<context>any</context>\n</directive>\n"
    "</section>\n"
    "<section name=\"Last\"><para><table><tr><td>a</td><td><para>b</para></td>"
    "</tr></table></para></section>\n"
    "</module>\n";


static void
test_xml(void **state)
{
    (void) state;

    extract("m.xml", module);
    assert_string_equal(text.title, "Module m");
    block(0, TF_BLOCK_PROSE, "",
          "The m module\xe2\x80\x94" "a small &unknown; one.");
    block(1, TF_BLOCK_FIELDS, "Directives > proxy_read_timeout",
          "Syntax: proxy_read_timeout time;\n"
          "Default: proxy_read_timeout 60s;\n"
          "Context: http, server\n"
          "Appeared in: 1.2.3");
    block(2, TF_BLOCK_PROSE, "Directives > proxy_read_timeout",
          "See other and this.");
    block(3, TF_BLOCK_CODE, "Directives > proxy_read_timeout",
          "```\nif (a < b) {\n    x;\n}\n```");
    block(4, TF_BLOCK_LIST, "Directives > proxy_read_timeout",
          "- one\n- two\n  - deep");
    block(5, TF_BLOCK_FIELDS, "Directives > empty",
          "Syntax: empty { ... }\nDefault: none (empty has no default)\n"
          "Context: any");
    block(6, TF_BLOCK_TABLE, "Last", "| a | b |");
    assert_int_equal(text.nblocks, 7);
    tf_text_free(&text);
}


static void
test_xml_hostile(void **state)
{
    size_t    i;
    tf_buf_t  b = TF_BUF_INIT;

    (void) state;

#define REFUSE(s, why)  refuse("a.xml", s, sizeof(s) - 1, why)

    REFUSE("<a><b></a>", "well-formed");
    REFUSE("<a>", "well-formed");
    REFUSE("no xml", "well-formed");
    REFUSE("<a>&undeclared;</a>", "well-formed");
    REFUSE("<!DOCTYPE a [<!ENTITY x \"ha\">]><a>&x;</a>", "entities");
    REFUSE("<!DOCTYPE a [<!ENTITY % x SYSTEM \"file:///etc/passwd\"> %x;]>"
           "<a>t</a>", "entities");
    REFUSE("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
           "<a>&x;</a>", "entities");
    REFUSE("<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">"
           "]><a>&b;</a>", "entities");
    REFUSE("<!DOCTYPE a [<!ATTLIST a x CDATA \"y\">]><a>t</a>", "attributes");
    REFUSE("<!DOCTYPE a [<!ELEMENT a ANY>]><a>t</a>", "elements");

    for (i = 0; i < 100000; i++) {
        tf_buf_puts(&b, "<a>");
    }

    refuse("a.xml", b.data, b.len, "deep");
    tf_buf_free(&b);

    /* a link to a file outside is a word, nothing else */

    extract("a.xml", "<a xmlns:xi=\"http://www.w3.org/2001/XInclude\">"
            "<xi:include href=\"/etc/passwd\"/>text</a>");
    block(0, TF_BLOCK_PROSE, "", "text");
    tf_text_free(&text);
}


static void
test_long(void **state)
{
    char         *data;
    size_t        n;
    tf_limits_t   limits;

    (void) state;

    n = 4 * 1024 * 1024;
    data = malloc(n + 1);
    assert_non_null(data);

    memset(data, '#', n);
    data[n] = '\0';
    refuse("a.md", data, n, "limit line=1m");

    tf_limits_default(&limits);
    assert_int_equal(tf_limits_parse(&limits, "line=8m", err, sizeof(err)), 0);
    assert_int_equal(tf_extract(&limits, "a.md", data, n, &text, err,
                                sizeof(err)), 0);
    tf_text_free(&text);

    memset(data, '-', n);
    memcpy(data, "Text\n", 5);
    assert_int_equal(tf_extract(&limits, "a.md", data, n, &text, err,
                                sizeof(err)), -1);

    for (n = 0; n + 4 < 4 * 1024 * 1024; n += 4) {
        memcpy(data + n, "# x\n", 4);
    }

    memcpy(data + n - 4, "\nyz\n", 4);
    data[n] = '\0';
    extract("a.md", data);
    tf_text_free(&text);
    free(data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_txt),
        cmocka_unit_test(test_md),
        cmocka_unit_test(test_md_title),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_xml_hostile),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
