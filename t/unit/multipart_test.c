/* links: ngx_module/ngx_http_trifecta_multipart.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_http_trifecta_multipart.h"


/*
 * Forms, good and bad, in pieces of every size.  Each piece stands in memory
 * of exactly its size.
 */

#define TYPE  "multipart/form-data; boundary=XyZ"
#define PART(name, content)                                                   \
    "--XyZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"      \
    content "\r\n"
#define END   "--XyZ--\r\n"


typedef struct {
    char      text[65536];      /* "name[filename]=content;" of all parts */
    size_t    len;
    int       open;
    uint64_t  starts[32];
    uint64_t  lengths[32];
    unsigned  n;
} seen_t;


static tf_multipart_t  form;
static seen_t          seen;


static void
note(const void *p, size_t len)
{
    assert_true(seen.len + len < sizeof(seen.text));

    memcpy(seen.text + seen.len, p, len);
    seen.len += len;
    seen.text[seen.len] = '\0';
}


static const char *
on_part(void *data, const tf_multipart_part_t *part)
{
    assert_ptr_equal(data, &seen);
    assert_false(seen.open);

    seen.open = 1;
    seen.starts[seen.n] = form.start;

    note(part->name, part->name_len);

    if (part->has_filename) {
        note("[", 1);
        note(part->filename, part->filename_len);
        note("]", 1);
    }

    note("=", 1);

    return part->name_len == 4 && memcmp(part->name, "stop", 4) == 0
           ? "stopped" : NULL;
}


static const char *
on_content(void *data, const unsigned char *p, size_t len)
{
    (void) data;

    assert_true(seen.open);
    assert_true(len > 0);
    note(p, len);

    return NULL;
}


static const char *
on_end(void *data)
{
    (void) data;

    assert_true(seen.open);

    seen.open = 0;
    seen.lengths[seen.n++] = form.length;
    note(";", 1);

    return NULL;
}


static const tf_multipart_sink_t  sink = { on_part, on_content, on_end };


static const char *
parse(const char *type, const char *text, size_t len, size_t piece)
{
    size_t          n;
    const char     *err;
    unsigned char  *copy;

    memset(&seen, 0, sizeof(seen));

    err = tf_multipart_init(&form, type, strlen(type), &sink, &seen);

    while (err == NULL && len) {
        n = len < piece ? len : piece;

        copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text, n);

        err = tf_multipart_feed(&form, copy, n);
        free(copy);

        text += n;
        len -= n;
    }

    return err ? err : tf_multipart_done(&form);
}


static void
good_of(const char *type, const char *text, size_t len, const char *want,
    size_t want_len)
{
    size_t       i, piece;
    const char  *err;

    static const size_t  pieces[] = { 1, 2, 3, 5, 7, 64, 65536 };

    for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        piece = pieces[i];
        err = parse(type, text, len, piece);

        if (err || seen.len != want_len
            || memcmp(seen.text, want, want_len) != 0)
        {
            fail_msg("pieces of %zu: %s, \"%s\"", piece, err ? err : "good",
                     seen.text);
        }
    }
}


static void
good(const char *text, const char *want)
{
    good_of(TYPE, text, strlen(text), want, strlen(want));
}


static void
bad(const char *type, const char *text, const char *want)
{
    const char  *all, *single;

    all = parse(type, text, strlen(text), 65536);
    single = parse(type, text, strlen(text), 1);

    if (all == NULL || single == NULL || strstr(all, want) == NULL
        || strcmp(all, single) != 0)
    {
        fail_msg("\"%s\": %s and %s, not %s", text, all ? all : "good",
                 single ? single : "good", want);
    }
}


static void
parts_come_with_their_names_and_contents(void **state)
{
    (void) state;

    good(PART("a", "1") PART("b", "two") END, "a=1;b=two;");
    good(PART("a", "") END, "a=;");
    good("preamble\r\n" PART("a", "1") END "epilogue --XyZ\r\n", "a=1;");
    good(PART("a", "1") "--XyZ--", "a=1;");
    good("--XyZ \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
         END, "a=1;");
    good("--XyZ\r\nContent-Type: text/plain\r\n"
         "CONTENT-DISPOSITION:form-data;NAME=\"a\";filename=\"f.txt\"\r\n"
         "Content-Transfer-Encoding: binary\r\n\r\n1\r\n" END,
         "a[f.txt]=1;");
    good("--XyZ\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\""
         "\r\n\r\n1\r\n" END, "a[]=1;");
}


static void
content_is_exact_whatever_it_looks_like(void **state)
{
    size_t  i, len;
    char    text[1024], want[1024];

    static const char *const  contents[] = {
        "\r", "\n", "\r\n", "\r\n\r\n", "\r\r\n", "\r\n-", "\r\n--",
        "\r\n--Xy", "\r\n--xyz", "--XyZ", "\n--XyZ", "\r--XyZ--",
        "\r\n\r\n--Xy\r\n--X", "\r\n--Xy\r", "\r\r\r\r\n--Xy",
        "a\r\n --XyZ--"
    };

    (void) state;

    for (i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        snprintf(text, sizeof(text), PART("a", "%s") END, contents[i]);
        snprintf(want, sizeof(want), "a=%s;", contents[i]);
        good(text, want);
    }

    /* bytes of every value */

    len = sprintf(text, "--XyZ\r\nContent-Disposition: form-data; name=a"
                  "\r\n\r\n");
    memcpy(want, "a=", 2);

    for (i = 0; i < 256; i++) {
        text[len++] = (char) i;
        want[2 + i] = (char) i;
    }

    len += sprintf(text + len, "\r\n" END);
    want[258] = ';';

    good_of(TYPE, text, len, want, 259);
}


static void
where_a_content_stands_is_told(void **state)
{
    unsigned     i;
    size_t       piece;
    const char  *text;

    (void) state;

    text = "pre\r\n" PART("a", "one\r\n--Xy") PART("b", "") PART("c", "3")
           END;

    for (piece = 1; piece < 40; piece++) {
        assert_null(parse(TYPE, text, strlen(text), piece));
        assert_int_equal(seen.n, 3);

        assert_int_equal(seen.lengths[0], 9);
        assert_memory_equal(text + seen.starts[0], "one\r\n--Xy", 9);
        assert_int_equal(seen.lengths[1], 0);
        assert_int_equal(seen.lengths[2], 1);
        assert_memory_equal(text + seen.starts[2], "3", 1);

        for (i = 0; i < 3; i++) {
            assert_memory_equal(text + seen.starts[i] + seen.lengths[i],
                                "\r\n--XyZ", 7);
        }
    }
}


static void
names_are_unquoted_as_clients_quote_them(void **state)
{
    (void) state;

#define FILENAME(f)                                                           \
    "--XyZ\r\nContent-Disposition: form-data; name=\"a\"; filename=" f        \
    "\r\n\r\n1\r\n" END

    good(FILENAME("\"x y.txt\""), "a[x y.txt]=1;");
    good(FILENAME("\"a%22b.txt\""), "a[a\"b.txt]=1;");
    good(FILENAME("\"a\\\"b.txt\""), "a[a\"b.txt]=1;");
    good(FILENAME("\"a\\\\b.txt\""), "a[a\\b.txt]=1;");
    good(FILENAME("\"C:\\dir\\b.txt\""), "a[C:\\dir\\b.txt]=1;");
    good(FILENAME("\"a%0d%0Ab%41%2\""), "a[a\r\nb%41%2]=1;");
    good(FILENAME("\"\xc3\xa4;=.txt\"; filename*=UTF-8''other"),
         "a[\xc3\xa4;=.txt]=1;");
    good(FILENAME("plain.txt"), "a[plain.txt]=1;");
}


static void
a_broken_form_is_refused_with_what_is_wrong(void **state)
{
    char  text[16384], name[2048];

    (void) state;

    bad(TYPE, "", "does not come");
    bad(TYPE, "--XyY\r\n", "does not come");
    bad(TYPE, "--XyZ", "end is missing");
    bad(TYPE, PART("a", "1"), "end is missing");
    bad(TYPE, PART("a", "1") "--XyZ-", "end is missing");
    bad(TYPE, PART("a", "1") "--XyZ-x", "goes on");
    bad(TYPE, PART("a", "1") "--XyZa\r\n", "goes on");
    bad(TYPE, PART("a", "1") "--XyZ\n", "goes on");
    bad(TYPE, PART("a", "1") "--XyZ\rx", "goes on");
    bad(TYPE, "--XyZ\r\n\r\n1\r\n" END, "no Content-Disposition");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END,
        "no name");
    bad(TYPE, "--XyZ\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n"
        END, "no form-data");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a; name=b"
        "\r\n\r\n1\r\n" END, "two names");
    bad(TYPE, FILENAME("a; filename=b"), "two filenames");
    bad(TYPE, FILENAME("\"a"), "can not be read");
    bad(TYPE, FILENAME("a b"), "can not be read");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n"
        "Content-Disposition: form-data; name=b\r\n\r\n1\r\n" END,
        "two Content-Dispositions");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n ; b=c"
        "\r\n\r\n1\r\n" END, "next line");
    bad(TYPE, "--XyZ\r\nContent-Disposition\r\n\r\n1\r\n" END, "no colon");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\n\r\n\r\n"
        END, "control character");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=\"a\x01\"\r\n"
        "\r\n" END, "control character");
    bad(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n1\r\n" END,
        "transfer encoding");
    bad(TYPE, PART("stop", "1") END, "stopped");

    memset(name, 'n', sizeof(name));
    name[TF_MULTIPART_NAME_MAX] = '\0';
    snprintf(text, sizeof(text), PART("%s", "1") END, name);
    assert_null(parse(TYPE, text, strlen(text), 65536));

    name[TF_MULTIPART_NAME_MAX] = 'n';
    name[TF_MULTIPART_NAME_MAX + 1] = '\0';
    snprintf(text, sizeof(text), PART("%s", "1") END, name);
    bad(TYPE, text, "longer than 64");

    name[65] = 'n';
    name[TF_MULTIPART_FILENAME_MAX] = '\0';
    snprintf(text, sizeof(text), FILENAME("\"%s\""), name);
    assert_null(parse(TYPE, text, strlen(text), 65536));

    name[TF_MULTIPART_FILENAME_MAX] = 'n';
    name[TF_MULTIPART_FILENAME_MAX + 1] = '\0';
    snprintf(text, sizeof(text), FILENAME("\"%s\""), name);
    bad(TYPE, text, "longer than 1024");
}


static void
what_a_form_may_have_is_bounded(void **state)
{
    size_t  i, len;
    char    text[16384];

    (void) state;

    text[0] = '\0';

    for (i = 0; i < TF_MULTIPART_PARTS_MAX; i++) {
        strcat(text, PART("a", "1"));
    }

    len = strlen(text);

    strcat(text, END);
    assert_null(parse(TYPE, text, strlen(text), 65536));

    strcpy(text + len, PART("a", "1") END);
    bad(TYPE, text, "more than 16 parts");

    len = sprintf(text, "--XyZ\r\nX: ");
    memset(text + len, 'x', TF_MULTIPART_HEAD_MAX);
    sprintf(text + len + TF_MULTIPART_HEAD_MAX, "\r\n\r\n" END);
    bad(TYPE, text, "longer than 4096");

    memset(text, 'p', TF_MULTIPART_PREAMBLE_MAX);
    sprintf(text + TF_MULTIPART_PREAMBLE_MAX, "\r\n" PART("a", "1") END);
    assert_null(parse(TYPE, text, strlen(text), 65536));
    assert_null(parse(TYPE, text, strlen(text), 1));

    memset(text, 'p', TF_MULTIPART_PREAMBLE_MAX + 1);
    sprintf(text + TF_MULTIPART_PREAMBLE_MAX + 1, "\r\n" PART("a", "1") END);
    bad(TYPE, text, "does not come");
}


static void
a_boundary_is_what_the_rfc_lets_it_be(void **state)
{
    char         type[256], text[512], boundary[80];
    const char  *body;

    (void) state;

    body = PART("a", "1") END;

    good_of("Multipart/Form-Data;charset=utf-8; Boundary=\"XyZ\"", body,
            strlen(body), "a=1;", 4);

    body = "--a b:=?'()+_,-./\r\nContent-Disposition: form-data; name=a\r\n"
           "\r\n1\r\n--a b:=?'()+_,-./--";
    good_of("multipart/form-data; boundary=\"a b:=?'()+_,-./\"", body,
            strlen(body), "a=1;", 4);

    bad("text/plain; boundary=XyZ", "", "not multipart");
    bad("multipart/form-data", "", "no boundary");
    bad("multipart/form-data; boundary=", "", "can not be read");
    bad("multipart/form-data; boundary=\"\"", "", "1 to 70");
    bad("multipart/form-data; boundary=\"a \"", "", "1 to 70");
    bad("multipart/form-data; boundary=\"a", "", "can not be read");
    bad("multipart/form-data; boundary=a; boundary=b", "", "two boundaries");
    bad("multipart/form-data; boundary=\"a\tb\"", "", "no boundary may have");
    bad("multipart/form-datas; boundary=a", "", "can not be read");

    memset(boundary, 'b', sizeof(boundary));
    boundary[TF_MULTIPART_BOUNDARY_MAX] = '\0';

    sprintf(type, "multipart/form-data; boundary=%s", boundary);
    sprintf(text, "--%s\r\nContent-Disposition: form-data; name=a\r\n\r\n1"
            "\r\n--%s--", boundary, boundary);
    good_of(type, text, strlen(text), "a=1;", 4);

    boundary[TF_MULTIPART_BOUNDARY_MAX] = 'b';
    boundary[TF_MULTIPART_BOUNDARY_MAX + 1] = '\0';
    sprintf(type, "multipart/form-data; boundary=%s", boundary);
    bad(type, "", "1 to 70");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(parts_come_with_their_names_and_contents),
        cmocka_unit_test(content_is_exact_whatever_it_looks_like),
        cmocka_unit_test(where_a_content_stands_is_told),
        cmocka_unit_test(names_are_unquoted_as_clients_quote_them),
        cmocka_unit_test(a_broken_form_is_refused_with_what_is_wrong),
        cmocka_unit_test(what_a_form_may_have_is_bounded),
        cmocka_unit_test(a_boundary_is_what_the_rfc_lets_it_be)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
