/* links: sidecar/rag/filters.c sidecar/rag/array.c sidecar/base/buf.c
   sidecar/extract/text.c sidecar/extract/meta.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <trifecta/meta.h>

#include "extract/text.h"
#include "rag/scope.h"


static void
test_names(void **state)
{
    char    name[TF_META_NAME_MAX + 1], longest[TF_META_NAME_MAX + 2];
    size_t  i;

    static const char *const  bad[] = { "", "1a", "-a", ".a", "a b", "a\"b",
                                        "\xc3\xa4", "a'--", "a=b" };

    (void) state;

    assert_int_equal(tf_meta_name("Author", 6, name), 0);
    assert_string_equal(name, "author");
    assert_int_equal(tf_meta_name("_a.B-9", 6, name), 0);
    assert_string_equal(name, "_a.b-9");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_meta_name(bad[i], strlen(bad[i]), name), -1);
    }

    memset(longest, 'a', sizeof(longest));
    assert_int_equal(tf_meta_name(longest, TF_META_NAME_MAX, name), 0);
    assert_int_equal(tf_meta_name(longest, TF_META_NAME_MAX + 1, name), -1);
}


static void
test_numbers(void **state)
{
    size_t  i;
    double  number;

    static const char *const  bad[] = { "", "-", "x", "0x10", "inf", "nan",
        "1e999", "1e-305", " 1", "1 ", "1.2.3", "2026-01-01", "+1", "1,5",
        "9999999999999999999999999999999999999999999999999" };

    (void) state;

    assert_int_equal(tf_meta_number("2020", 4, &number), 0);
    assert_true(number == 2020);
    assert_int_equal(tf_meta_number("-1.5e3", 6, &number), 0);
    assert_true(number == -1500);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_meta_number(bad[i], strlen(bad[i]), &number), -1);
    }

    assert_int_equal(tf_meta_number("1\0", 2, &number), -1);
}


static void
test_dates(void **state)
{
    size_t          i;
    tf_meta_date_t  date;

    static const struct {
        const char  *text;
        int64_t      ms;
        int          day;
    } good[] = {
        { "1970-01-01", 0, 1 },
        { "2026-01-31", INT64_C(1769817600000), 1 },
        { "2024-02-29", INT64_C(1709164800000), 1 },
        { "2000-02-29", INT64_C(951782400000), 1 },
        { "0001-01-01", INT64_C(-62135596800000), 1 },
        { "9999-12-31", INT64_C(253402214400000), 1 },
        { "2026-01-31T00:00Z", INT64_C(1769817600000), 0 },
        { "2026-01-31T10:20:30", INT64_C(1769854830000), 0 },
        { "2026-01-31 10:20:30.5Z", INT64_C(1769854830500), 0 },
        { "2026-01-31T10:20:30.123456789z", INT64_C(1769854830100), 0 },
        { "2026-01-31T10:20:30+02:00", INT64_C(1769847630000), 0 },
        { "2026-01-31T10:20:30-0130", INT64_C(1769860230000), 0 },
        { "2026-01-31T10:20:30+02", INT64_C(1769847630000), 0 },
    };

    static const char *const  bad[] = { "", "2026", "2026-1-1", "2026-02-30",
        "2025-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "0000-01-01",
        "2026-01-31T", "2026-01-31T1", "2026-01-31T24:00", "2026-01-31T10:60",
        "2026-01-31T10:20:61", "2026-01-31T10:20:30.Z",
        "2026-01-31T10:20:30X", "2026-01-31T10:20:30+", "2026-01-31T10:20:30+2",
        "2026-01-31T10:20:30+25:00", "2026-01-31T10:20:30+02:00x",
        "2026-01-31T10:20:30ZZ", "2026-01-31x", "2026/01/31", "31.01.2026",
        "2026-01-31T10:20:30.123456789123456789Z" };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(tf_meta_date(good[i].text, strlen(good[i].text),
                                      &date), 0);
        assert_int_equal(date.ms, good[i].ms);
        assert_int_equal(date.day, good[i].day);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tf_meta_date(bad[i], strlen(bad[i]), &date), -1);
    }
}


static void
test_values_of_a_text(void **state)
{
    char       longest[600], name[TF_META_NAME_MAX + 1];
    size_t     i;
    tf_text_t  text;

    (void) state;

    memset(&text, 0, sizeof(tf_text_t));

    tf_text_meta(&text, "Author", 6, "  Ada\n Lovelace ", 16);
    tf_text_meta(&text, "author", 6, "Ada Lovelace", 12);
    tf_text_meta(&text, "no name", 7, "x", 1);
    tf_text_meta(&text, "empty", 5, " \t", 2);
    assert_int_equal(text.nmeta, 1);
    assert_string_equal(text.meta[0].name, "author");
    assert_string_equal(text.meta[0].value, "Ada Lovelace");

    /* cut between characters */

    for (i = 0; i < sizeof(longest) - 1; i += 2) {
        memcpy(longest + i, "\xc3\xa4", 2);
    }

    tf_text_meta(&text, "long", 4, longest, sizeof(longest));
    assert_int_equal(strlen(text.meta[1].value), TF_META_TEXT_MAX - 1);

    for (i = 0; i < 2 * TF_META_VALUES_MAX; i++) {
        longest[0] = (char) ('!' + i);
        tf_text_meta(&text, "many", 4, longest, 1);
    }

    assert_int_equal(text.nmeta, TF_META_VALUES_MAX);
    tf_text_free(&text);

    tf_text_meta_mail_date(&text, "date", "Tue, 1 Jul 2003 10:52:37 +0200",
                           30);
    tf_text_meta_mail_date(&text, "date", "1 Jul 03 10:52 GMT", 18);
    tf_text_meta_mail_date(&text, "date", "yesterday", 9);
    tf_text_meta_mail_date(&text, "date", "99 Foo 2003 10:52:37 +9999", 26);
    assert_int_equal(text.nmeta, 2);
    assert_string_equal(text.meta[0].value, "2003-07-01T10:52:37+02:00");
    assert_string_equal(text.meta[1].value, "2003-07-01T10:52:00+00:00");
    tf_text_free(&text);

    name[0] = '\0';
    tf_text_meta_line(&text, '-', "tags: [ 'a b', c ]", 18, name);
    tf_text_meta_line(&text, '-', "title: T", 8, name);
    tf_text_meta_line(&text, '-', "- not of a list", 15, name);
    tf_text_meta_line(&text, '-', "authors:", 8, name);
    tf_text_meta_line(&text, '-', "  - \"X\"\r", 9, name);
    tf_text_meta_line(&text, '-', "  nested: y", 11, name);
    assert_int_equal(text.nmeta, 3);
    assert_string_equal(text.meta[0].value, "a b");
    assert_string_equal(text.meta[1].value, "c");
    assert_string_equal(text.meta[2].name, "authors");
    assert_string_equal(text.meta[2].value, "X");
    tf_text_free(&text);
}


/* The SQL of filters, and its parameters behind "|". */

static int
sql_of(const char *filters, tf_buf_t *sql)
{
    int               i, rc;
    json_t           *root;
    tf_rag_params_t   params;

    memset(&params, 0, sizeof(tf_rag_params_t));
    tf_buf_reset(sql);

    root = json_loads(filters, 0, NULL);
    assert_non_null(root);

    rc = tf_rag_filters_sql(root, sql, &params);

    for (i = 0; i < params.n; i++) {
        tf_buf_printf(sql, "|%s", params.list[i]);
    }

    tf_rag_params_free(&params);
    json_decref(root);

    return rc;
}


static void
test_filters_become_parameters(void **state)
{
    size_t    i;
    tf_buf_t  sql = TF_BUF_INIT;

    static const char *const  bad[] = { "{}", "{\"a b\": 1}",
        "{\"a\": null}", "{\"a\": true}", "{\"a\": []}", "{\"a\": {}}",
        "{\"a\": {\"like\": \"x\"}}", "{\"a\": {\"lt\": \"x\"}}",
        "{\"a\": {\"in\": \"x\"}}", "{\"a\": {\"in\": [1, \"x\"]}}",
        "{\"a\": {\"in\": [[]]}}",
        "{\"a\": {\"lt\": 1, \"gt\": 2, \"eq\": 3}}" };

    (void) state;

#define FROM  "SELECT DISTINCT document FROM trifecta.document_meta WHERE "

    assert_int_equal(sql_of("{\"Author\": \"x' OR 1=1 --\"}", &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND value = "
                        "$2::text|author|x' OR 1=1 --");

    assert_int_equal(sql_of("{\"year\": {\"gte\": 2020, \"lt\": 2024.5}}",
                            &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND number >= "
                        "$2::float8 AND number < $3::float8|year|2020|2024.5");

    assert_int_equal(sql_of("{\"t\": {\"in\": [\"a\", \"b\\\"c\"]}, "
                            "\"n\": {\"in\": [1, 2]}}", &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND value = ANY "
                        "($2::text[]) INTERSECT " FROM "name = $3::text AND "
                        "number = ANY ($4::float8[])"
                        "|t|{\"a\",\"b\\\"c\"}|n|{\"1\",\"2\"}");

    /* a day is all of it */

#define AT(n)  "to_timestamp($" n "::bigint / 1000.0)"

    assert_int_equal(sql_of("{\"d\": \"1970-01-02\"}", &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND moment >= " AT("2")
                        " AND moment < " AT("3") "|d|86400000|172800000");

    assert_int_equal(sql_of("{\"d\": {\"gt\": \"1970-01-02\", "
                            "\"lte\": \"1970-01-03\"}}", &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND moment >= " AT("2")
                        " AND moment < " AT("3") "|d|172800000|259200000");

    assert_int_equal(sql_of("{\"d\": {\"gt\": \"1970-01-02T00:00:00Z\"}}",
                            &sql), 0);
    assert_string_equal(sql.data, FROM "name = $1::text AND moment > " AT("2")
                        "|d|86400000");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(sql_of(bad[i], &sql), -1);
    }

    tf_buf_free(&sql);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_values_of_a_text),
        cmocka_unit_test(test_filters_become_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
