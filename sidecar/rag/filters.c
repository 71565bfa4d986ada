#include "rag/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/meta.h>

#include "rag/array.h"


/*
 * Filters become SQL.  Nothing of a filter is in the text of it: names and
 * values are parameters, the tests are ours.  Each member asks one index
 * (name, and value, number or moment); the members' documents are
 * intersected.
 */


/* A parameter's number, or 0: there are too many, or memory is short. */

static int
tf_filter_param(tf_rag_params_t *params, const char *value)
{
    if (params->n == TF_SCOPE_PARAMS) {
        return 0;
    }

    params->list[params->n] = value == NULL ? NULL : strdup(value);

    return params->list[params->n] == NULL ? 0 : ++params->n;
}


static int
tf_filter_add(tf_buf_t *sql, tf_rag_params_t *params, const char *column,
    const char *op, const char *type, const char *value)
{
    int  n;

    n = tf_filter_param(params, value);

    if (n == 0) {
        return -1;
    }

    tf_buf_printf(sql, " AND %s %s $%d::%s", column, op, n, type);

    return 0;
}


static int
tf_filter_moment(tf_buf_t *sql, tf_rag_params_t *params, const char *op,
    int64_t ms)
{
    int   n;
    char  text[32];

    (void) snprintf(text, sizeof(text), "%lld", (long long) ms);
    n = tf_filter_param(params, text);

    if (n == 0) {
        return -1;
    }

    tf_buf_printf(sql, " AND moment %s to_timestamp($%d::bigint / 1000.0)",
                  op, n);

    return 0;
}


/* A day is from its first moment until the first one of the next day. */

static int
tf_filter_date(tf_buf_t *sql, tf_rag_params_t *params, tf_filter_test_t test,
    const tf_meta_date_t *date)
{
    int64_t  after;

    after = date->ms + (date->day ? TF_META_DAY_MS : 0);

    switch (test) {

    case TF_FILTER_LT:
        return tf_filter_moment(sql, params, "<", date->ms);

    case TF_FILTER_GTE:
        return tf_filter_moment(sql, params, ">=", date->ms);

    case TF_FILTER_LTE:
        return tf_filter_moment(sql, params, date->day ? "<" : "<=", after);

    case TF_FILTER_GT:
        return tf_filter_moment(sql, params, date->day ? ">=" : ">", after);

    default: /* TF_FILTER_EQ */
        if (!date->day) {
            return tf_filter_moment(sql, params, "=", date->ms);
        }

        return tf_filter_moment(sql, params, ">=", date->ms) == 0
               ? tf_filter_moment(sql, params, "<", after) : -1;
    }
}


static void
tf_filter_number(const json_t *value, char *text, size_t size)
{
    if (json_is_integer(value)) {
        (void) snprintf(text, size, "%lld",
                        (long long) json_integer_value(value));

    } else {
        (void) snprintf(text, size, "%.17g", json_real_value(value));
    }
}


static int
tf_filter_one(tf_buf_t *sql, tf_rag_params_t *params, tf_filter_test_t test,
    const json_t *value)
{
    char             text[32];
    const char      *s;
    tf_meta_date_t   date;

    static const char *const  ops[] = { "=", "", "<", "<=", ">", ">=" };

    if (json_is_number(value)) {
        tf_filter_number(value, text, sizeof(text));
        return tf_filter_add(sql, params, "number", ops[test], "float8", text);
    }

    s = json_string_value(value);

    if (s == NULL) {
        return -1;
    }

    if (tf_meta_date(s, json_string_length(value), &date) == 0) {
        return tf_filter_date(sql, params, test, &date);
    }

    return test == TF_FILTER_EQ
           ? tf_filter_add(sql, params, "value", "=", "text", s) : -1;
}


static int
tf_filter_in(tf_buf_t *sql, tf_rag_params_t *params, const json_t *list)
{
    int        rc, numbers;
    char       text[32];
    size_t     i;
    json_t    *value;
    tf_buf_t   array = TF_BUF_INIT;

    numbers = json_is_number(json_array_get(list, 0));
    rc = json_is_array(list) ? 0 : -1;

    for (i = 0; i < json_array_size(list); i++) {
        value = json_array_get(list, i);

        if (numbers && json_is_number(value)) {
            tf_filter_number(value, text, sizeof(text));
            tf_array_text(&array, text, strlen(text));

        } else if (!numbers && json_is_string(value)) {
            tf_array_text(&array, json_string_value(value),
                          json_string_length(value));

        } else {
            rc = -1;
        }
    }

    tf_array_close(&array);

    if (rc == 0 && !array.failed) {
        rc = tf_filter_param(params, array.data);

        tf_buf_printf(sql, numbers ? " AND number = ANY ($%d::float8[])"
                                   : " AND value = ANY ($%d::text[])", rc);
        rc = rc == 0 ? -1 : 0;
    }

    tf_buf_free(&array);

    return rc;
}


static int
tf_filter_member(tf_buf_t *sql, tf_rag_params_t *params, const char *name,
    json_t *tests)
{
    int               n, rc;
    char              folded[TF_META_NAME_MAX + 1];
    json_t           *value;
    const char       *word;
    tf_filter_test_t  test;

    if (tf_meta_name(name, strlen(name), folded) != 0) {
        return -1;
    }

    n = tf_filter_param(params, folded);

    if (n == 0) {
        return -1;
    }

    tf_buf_printf(sql, "SELECT DISTINCT document FROM "
                  "trifecta.document_meta WHERE name = $%d::text", n);

    if (!json_is_object(tests)) {
        return tf_filter_one(sql, params, TF_FILTER_EQ, tests);
    }

    if (json_object_size(tests) == 0
        || json_object_size(tests) > TF_FILTER_TESTS_MAX)
    {
        return -1;
    }

    json_object_foreach(tests, word, value) {
        test = tf_filter_test(word);

        rc = test == TF_FILTER_NTESTS ? -1
             : test == TF_FILTER_IN ? tf_filter_in(sql, params, value)
             : tf_filter_one(sql, params, test, value);

        if (rc != 0) {
            return -1;
        }
    }

    return 0;
}


int
tf_rag_filters_sql(const json_t *filters, tf_buf_t *sql,
    tf_rag_params_t *params)
{
    json_t      *tests;
    const char  *name, *between;

    if (json_object_size(filters) == 0) {
        return -1;
    }

    between = "";

    json_object_foreach((json_t *) filters, name, tests) {
        tf_buf_puts(sql, between);

        if (tf_filter_member(sql, params, name, tests) != 0) {
            return -1;
        }

        between = " INTERSECT ";
    }

    return sql->failed ? -1 : 0;
}


void
tf_rag_params_free(tf_rag_params_t *params)
{
    int  i;

    for (i = 0; i < params->n; i++) {
        free(params->list[i]);
    }

    params->n = 0;
}
