/* links: sidecar/db/pg_columns.c sidecar/base/buf.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "db/pg_columns.h"


/* What would be sent is looked at here. */

static char            sent[4][256];
static int             lengths[4];
static int             nsent;


tf_pg_status_t
tf_pg_prepared_with(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, const tf_pg_params_t *params)
{
    int  i;

    (void) pg;
    (void) timeout;
    (void) sql;

    *res = NULL;
    nsent = params->n;

    for (i = 0; i < params->n; i++) {
        assert_int_equal(params->formats[i], 1);
        lengths[i] = params->lengths[i];
        memcpy(sent[i], params->values[i], (size_t) params->lengths[i]);
    }

    return TF_PG_OK;
}


static void
each_column_is_an_array_of_all_rows(void **state)
{
    tf_pg_t          pg;
    PGresult        *res;
    tf_pg_columns_t  c;

    static const tf_pg_type_t  types[] = {
        TF_PG_TYPE_UUID, TF_PG_TYPE_TEXT, TF_PG_TYPE_MOMENT
    };

    static const unsigned char  ids[] = {
        0, 0, 0, 1,  0, 0, 0, 1,  0, 0, 0x0b, 0x86,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 16,
        0x01, 0x98, 0xab, 0xcd, 0xef, 0x01, 0x72, 0x34,
        0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67,
        0xff, 0xff, 0xff, 0xff
    };

    static const unsigned char  texts[] = {
        0, 0, 0, 1,  0, 0, 0, 1,  0, 0, 0, 25,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 2, 'o', 'n',
        0xff, 0xff, 0xff, 0xff
    };

    static const unsigned char  moments[] = {
        0, 0, 0, 1,  0, 0, 0, 1,  0, 0, 0x04, 0xa0,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 8,  0, 0, 0, 0, 0, 0, 0x03, 0xe8,
        0, 0, 0, 8,  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0x18
    };

    (void) state;

    tf_pg_columns_init(&c, types, 3);

    tf_pg_columns_id(&c, "0198abcd-ef01-7234-89ab-cdef01234567");
    tf_pg_columns_text(&c, "on");
    tf_pg_columns_num(&c, 946684800001);

    tf_pg_columns_id(&c, "no id");
    tf_pg_columns_text(&c, NULL);
    tf_pg_columns_num(&c, 946684799999);

    assert_int_equal(c.rows, 2);
    assert_int_equal(tf_pg_prepared_columns(&pg, &res, 0, "", &c), TF_PG_OK);
    assert_int_equal(nsent, 3);

    assert_int_equal(lengths[0], sizeof(ids));
    assert_memory_equal(sent[0], ids, sizeof(ids));
    assert_int_equal(lengths[1], sizeof(texts));
    assert_memory_equal(sent[1], texts, sizeof(texts));
    assert_int_equal(lengths[2], sizeof(moments));
    assert_memory_equal(sent[2], moments, sizeof(moments));

    tf_pg_columns_free(&c);
}


static void
json_has_a_version_and_none_of_no_bytes(void **state)
{
    tf_pg_t          pg;
    PGresult        *res;
    tf_pg_columns_t  c;

    static const tf_pg_type_t  types[] = { TF_PG_TYPE_JSONB, TF_PG_TYPE_INT2 };

    static const unsigned char  json[] = {
        0, 0, 0, 1,  0, 0, 0, 1,  0, 0, 0x0e, 0xda,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 3, 1, '[', ']',
        0xff, 0xff, 0xff, 0xff
    };

    static const unsigned char  numbers[] = {
        0, 0, 0, 1,  0, 0, 0, 1,  0, 0, 0, 21,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 2, 0, 7,
        0xff, 0xff, 0xff, 0xff
    };

    (void) state;

    tf_pg_columns_init(&c, types, 2);
    tf_pg_columns_text(&c, "[]");
    tf_pg_columns_num(&c, 7);
    tf_pg_columns_text(&c, "");
    tf_pg_columns_null(&c);

    assert_int_equal(tf_pg_prepared_columns(&pg, &res, 0, "", &c), TF_PG_OK);
    assert_int_equal(lengths[0], sizeof(json));
    assert_memory_equal(sent[0], json, sizeof(json));
    assert_int_equal(lengths[1], sizeof(numbers));
    assert_memory_equal(sent[1], numbers, sizeof(numbers));

    tf_pg_columns_free(&c);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_column_is_an_array_of_all_rows),
        cmocka_unit_test(json_has_a_version_and_none_of_no_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
