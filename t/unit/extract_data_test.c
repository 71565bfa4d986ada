/* links: sidecar/extract/ sidecar/base/buf.c */

#include "extract_dump.h"


#define refuse(set, name, s, why)  refused(set, name, s, strlen(s), why)


static void
test_limits(void **state)
{
    char         value[64];
    tf_limits_t  limits;

    (void) state;

    tf_limits_default(&limits);
    assert_int_equal(limits.v[TF_LIMIT_file], 64 * TF_MB);
    assert_int_equal(tf_limits_parse(&limits, "pages=7, text=512k,line=2MB "
                                     "seconds=3,file=1g", err, sizeof(err)),
                     0);
    assert_int_equal(limits.v[TF_LIMIT_pages], 7);
    assert_int_equal(limits.v[TF_LIMIT_text], 512 * 1024);
    assert_int_equal(limits.v[TF_LIMIT_line], 2 * TF_MB);
    assert_int_equal(limits.v[TF_LIMIT_file], 1024 * TF_MB);
    assert_string_equal(tf_limit_print(&limits, TF_LIMIT_text, value,
                                       sizeof(value)), "text=512k");
    assert_string_equal(tf_limit_print(&limits, TF_LIMIT_file, value,
                                       sizeof(value)), "file=1g");

    assert_int_equal(tf_limits_parse(&limits, "page=7", err, sizeof(err)), -1);
    assert_non_null(strstr(err, "\"page\"; the names are file, text"));
    assert_int_equal(tf_limits_parse(&limits, "pages", err, sizeof(err)), -1);
    assert_int_equal(tf_limits_parse(&limits, "pages=", err, sizeof(err)), -1);
    assert_int_equal(tf_limits_parse(&limits, "pages=-1", err, sizeof(err)),
                     -1);
    assert_int_equal(tf_limits_parse(&limits, "pages=5k", err, sizeof(err)),
                     -1);
    assert_int_equal(tf_limits_parse(&limits, "text=999g", err, sizeof(err)),
                     -1);
    assert_int_equal(tf_limits_parse(&limits, "text=99999999999999999999",
                                     err, sizeof(err)), -1);
    assert_int_equal(tf_limits_parse(&limits, "depth=251", err, sizeof(err)),
                     -1);
}


static void
test_csv(void **state)
{
    (void) state;

    becomes("a.csv", "Name,City\r\nAlice,Paris\r\n\"B, \"\"Bob\"\"\",\"New\n"
            "York\"\r\n\r\n,Rome\n",
            "[] list\n- Name: Alice\n  City: Paris\n"
            "[] list\n- Name: B, \"Bob\"\n  City: New York\n"
            "[] list\n- City: Rome\n");
    assert_string_equal(title, "a");

    /* separators are found, also among others in quotes */

    becomes("a.csv", "n;x\n\"a,b,c\";1,5\n\"d,e,f\";2,5\n",
            "[] list\n- n: a,b,c\n  x: 1,5\n"
            "[] list\n- n: d,e,f\n  x: 2,5\n");
    becomes("a.csv", "\xef\xbb\xbfn|x\na|1\n", "[] list\n- n: a\n  x: 1\n");
    becomes("a.tsv", "n\tx, y\na\t1\n", "[] list\n- n: a\n  x, y: 1\n");
    becomes("a.csv", "sep=;\nn;x\na,b;1\n", "[] list\n- n: a,b\n  x: 1\n");

    /* no header, more cells than columns, a header alone */

    becomes("a.csv", "7,8\n1,2\n",
            "[] list\n- column 1: 7\n  column 2: 8\n"
            "[] list\n- column 1: 1\n  column 2: 2\n");
    becomes("a.csv", "n,x\na,1,more\n",
            "[] list\n- n: a\n  x: 1\n  column 3: more\n");
    becomes("a.csv", "n,x\n", "[] list\n- column 1: n\n  column 2: x\n");
    becomes("a.csv", "n,x\n5\" disk,2\n", "[] list\n- n: 5\" disk\n  x: 2\n");

    refuse(NULL, "a.csv", "a,b\n1,\"open\n2,3\n", "the quote in line 2 is "
           "never closed");
    refuse("line=20", "a.csv", "a,b\nxxxxxxxxxxxxxxxxxxxxxxx,y\n",
           "(limit line=20)");
    refuse("text=20", "a.csv", "a,b\nxxxxxxxxxx,y\nxxxxxxxxxxxx,y\nz,z\n",
           "(limit text=20)");
    refuse(NULL, "a.csv", "\n\n", "has no text");
    refuse(NULL, "a.csv", "\"\",\"\"\n,\n", "has no text");
}


static void
test_csv_prose(void **state)
{
    char  data[1000], want[1000], words[401];

    (void) state;

    memset(words, 'w', 400);
    words[400] = '\0';

    (void) snprintf(data, sizeof(data), "title,text,year\nWhales,\"%s\n\nEnd."
                    "\",1999\n", words);
    (void) snprintf(want, sizeof(want), "[] list\n- title: Whales\n"
                    "[Whales] prose\n%s\n[Whales] prose\nEnd.\n"
                    "[] list\n- year: 1999\n", words);
    becomes("a.csv", data, want);
}


static void
test_json(void **state)
{
    (void) state;

    becomes("a.json", "{\"server\": {\"name\": \"a\", \"http\": {\"port\": "
            "80}, \"tags\": [\"x\", \"y\", 1.5e3, true, null]},\n"
            "\"users\": [{\"name\": \"Al\\u00e9\\ud834\\udd1e\", \"at\": "
            "{\"city\": \"Rome\", \"ids\": [1, 2]}}, {\"name\": \"B\"}, 7, "
            "\"free\"], \"last\": \"tab\\tquote\\\"\"}",
            "[server] list\n- name: a\n"
            "[server > http] list\n- port: 80\n"
            "[server] list\n- tags: x, y, 1.5e3, true\n"
            "[users] list\n- name: Al\xc3\xa9\xf0\x9d\x84\x9e\n"
            "  at.city: Rome\n  at.ids: 1, 2\n"
            "[users] list\n- name: B\n"
            "[users] list\n- 7, free\n"
            "[] list\n- last: tab quote\"\n");

    becomes("a.json", "[[1,2],[3,[4]],{\"o\":[{\"p\":5},{\"p\":6}]}]",
            "[] list\n- 1, 2\n[] list\n- 3\n  [1]: 4\n"
            "[] list\n- o[0].p: 5\n  o[1].p: 6\n");
    becomes("a.json", "\"alone\"", "[] list\n- alone\n");
    becomes("a.json", " {\"a\":\"\\ud800 \\u0000x\"} ",
            "[] list\n- a: \xef\xbf\xbd \xef\xbf\xbdx\n");

    becomes("a.jsonl", "{\"name\": \"A\", \"n\": 1}\n\n{\"name\": \"B\"}\n"
            "[1, 2]\n\"s\"\n",
            "[] list\n- name: A\n  n: 1\n[] list\n- name: B\n"
            "[] list\n- 1, 2\n[] list\n- s\n");

    refuse(NULL, "a.json", "{\"a\":1}{\"b\":2}", "something follows");
    refuse(NULL, "a.json", "{\"a\":1,\n\"b\" 2}", "line 2: a colon");
    refuse(NULL, "a.json", "{\"a\":1 \"b\":2}", "a comma is missing");
    refuse(NULL, "a.json", "[1,2", "ends within");
    refuse(NULL, "a.json", "[1,]", "this is no value");
    refuse(NULL, "a.json", "{\"a\":\"x", "never closed");
    refuse(NULL, "a.json", "{\"a\":\"\\x\"}", "escape");
    refuse(NULL, "a.json", "{\"a\":\"\n\"}", "control character");
    refuse(NULL, "a.json", "nul", "this is no value");
    refuse(NULL, "a.json", "", "ends within");
    refuse(NULL, "a.json", "{}", "has no text");
    refuse(NULL, "a.jsonl", "{\"a\":1}\n{\"b\"\n", "line 3: a colon");
    refuse("line=30", "a.jsonl", "{\"a\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
           "(limit line=30)");
    refuse("text=10", "a.json", "[\"aaaaaaaaaaaa\",{\"b\":1},{\"c\":2}]",
           "(limit text=10)");
}


static void
test_json_deep(void **state)
{
    char  deep[2000];

    (void) state;

    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 999);
    deep[1999] = '\0';
    refuse(NULL, "a.json", deep, "nested more than 200 deep (limit "
           "depth=200)");

    /* at the limit and one beyond */

    becomes("a.json", "[[[[7]]]]", "[] list\n- [0][0]: 7\n");
    refuse("depth=3", "a.json", "[[[[7]]]]", "(limit depth=3)");
}


static void
test_html(void **state)
{
    (void) state;

    becomes("a.html",
            "<!DOCTYPE html><html><head><title> The\n title </title>"
            "<style>p{color:red}</style><script>var x = '<p>no</p>';</script>"
            "</head><body><!-- not this --><nav><a href=/>Home</a></nav>"
            "<p>Before &amp; after.<h1>One</h1><p>First <b>bold</b>word.\n"
            "Second&nbsp;line.<br>Third"
            "<h2>Two</h2><ul><li>a<li>b<ul><li>c</ul></ul>"
            "<table><tr><th>k<th>v<tr><td>x<td>1 <p>and</p> 2</table>"
            "<pre>code\n  more &lt;\n</pre>"
            "<h1>Next</h1>end<template>no</template>",
            "[] prose\nBefore & after.\n"
            "[One] prose\nFirst boldword. Second\xc2\xa0line.\nThird\n"
            "[One > Two] list\n- a\n- b\n  - c\n"
            "[One > Two] table\n| k | v |\n| x | 1 and 2 |\n"
            "[One > Two] code\n```\ncode\n  more <\n```\n"
            "[Next] prose\nend\n");
    assert_string_equal(title, "The title");

    /* what nobody sees */

    becomes("a.htm", "<p>seen<p hidden>not<p style='DISPLAY : none'>not"
            "<div style=\"font-size:0px\">not <p>not</p></div>"
            "<span style='visibility:hidden'>not</span>"
            "<noscript>not</noscript><p>seen",
            "[] prose\nseen\n[] prose\nseen\n");

    /* encodings: of the page, of its mark, a guess */

    becomes("a.html", "<meta charset=iso-8859-7><p>\xe1\xe2",
            "[] prose\n\xce\xb1\xce\xb2\n");
    becomes("a.html", "<p>caf\xe9 \x80",
            "[] prose\ncaf\xc3\xa9 \xe2\x82\xac\n");
    becomes_bytes("a.html", "\xff\xfe<\0p\0>\0\xe9\0", 10,
                  "[] prose\n\xc3\xa9\n");

    /* a name that ends with the file */

    becomes_bytes("a.html", "<p>\xe9 charset=\"u", 15,
                  "[] prose\n\xc3\xa9 charset=\"u\n");

    /* a heading in code in a table ends both */

    becomes("a.html", "<pre>a<tr><td>b<h2>H</h2>c",
            "[] code\n```\na\n|b\n```\n[H] prose\nc\n");

    /* by its first bytes */

    becomes("page", " <!doctype HTML><p>sniffed", "[] prose\nsniffed\n");

    refuse(NULL, "a.html", "<script>x</script>", "has no text");
    refuse("depth=20", "a.html", "<div><div><div><div><div><div><div><div>"
           "<div><div><div><div><div><div><div><div><div><div><div><div>"
           "<div>x", "nested too deeply (limit depth=20)");
    refuse("text=8", "a.html", "<p>more than<p>eight<p>bytes",
           "(limit text=8)");
}


static void
test_text(void **state)
{
    (void) state;

    becomes_bytes("a.txt", "\xff\xfe" "A\0\xe9\0", 6, "[] prose\nA\xc3\xa9\n");
    becomes_bytes("a.txt", "\xfe\xff" "\0A\0\xe9", 6, "[] prose\nA\xc3\xa9\n");
    becomes_bytes("a.md", "#\0 \0H\0\n\0\n\0x\0", 12, "[] prose\nx\n");
    assert_string_equal(title, "H");

    refused(NULL, "a.txt", "\x7f" "ELF\1\0\0\0", 8, "(it looks like a "
            "program)");
    refused(NULL, "a.txt", "\x89PNG\r\n\x1a\n\xff", 9, "(it looks like a "
            "picture)");
    refuse(NULL, "a.txt", "caf\xe9", "iconv");
    becomes_bytes("a.txt", "\xff\xfe\0\xd8" "a\0", 6,
                  "[] prose\n\xef\xbf\xbd" "a\n");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_prose),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_deep),
        cmocka_unit_test(test_html),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
