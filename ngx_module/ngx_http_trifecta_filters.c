#include "ngx_http_trifecta_filters.h"

#include <trifecta/meta.h>


ngx_int_t
ngx_http_trifecta_member_collections(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    size_t   i, n, len;
    json_t  *item;

    n = json_array_size(value);

    if (n == 0 || n > TF_COLLECTIONS_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be an array of 1 to %d "
                                       "names", name, TF_COLLECTIONS_MAX);
    }

    for (i = 0; i < n; i++) {
        item = json_array_get(value, i);
        len = json_string_length(item);

        if (!json_is_string(item) || len == 0 || len > TF_COLLECTION_NAME_MAX)
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\": each name must be a "
                                           "string of 1 to %d bytes", name,
                                           TF_COLLECTION_NAME_MAX);
        }
    }

    ask->collections = value;

    return NGX_DECLINED;
}


/* A string that may be compared, with a bound on its bytes. */

static ngx_uint_t
ngx_http_trifecta_filter_text(json_t *value)
{
    return json_is_string(value)
           && json_string_length(value) > 0
           && json_string_length(value) <= TF_META_TEXT_MAX;
}


static ngx_int_t
ngx_http_trifecta_filter_in(ngx_http_request_t *r, const char *param,
    const char *member, json_t *list)
{
    size_t      i, n;
    json_t     *item;
    ngx_uint_t  numbers, good;

    n = json_array_size(list);
    numbers = json_is_number(json_array_get(list, 0));
    good = n > 0 && n <= TF_FILTER_IN_MAX;

    for (i = 0; i < n && good; i++) {
        item = json_array_get(list, i);
        good = numbers ? json_is_number(item)
                       : ngx_http_trifecta_filter_text(item);
    }

    if (good) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, param,
                                   "\"%s\": \"in\" of \"%s\" must be an array "
                                   "of 1 to %d numbers, or of strings of 1 to "
                                   "%d bytes", param, member,
                                   TF_FILTER_IN_MAX, TF_META_TEXT_MAX);
}


static ngx_int_t
ngx_http_trifecta_filter_value(ngx_http_request_t *r, const char *param,
    const char *member, tf_filter_test_t test, json_t *value)
{
    tf_meta_date_t  date;

    if (test == TF_FILTER_IN) {
        return ngx_http_trifecta_filter_in(r, param, member, value);
    }

    if (json_is_number(value)) {
        return NGX_DECLINED;
    }

    if (!tf_filter_is_range(test)) {
        if (ngx_http_trifecta_filter_text(value)) {
            return NGX_DECLINED;
        }

        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, param,
                                       "\"%s\": \"%s\" must be a number, a "
                                       "string of 1 to %d bytes, or an object "
                                       "of tests", param, member,
                                       TF_META_TEXT_MAX);
    }

    if (json_is_string(value)
        && tf_meta_date(json_string_value(value), json_string_length(value),
                        &date)
           == 0)
    {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, param,
                                   "\"%s\": a bound of \"%s\" must be a "
                                   "number, or a date such as \"2026-01-31\" "
                                   "or \"2026-01-31T10:00:00Z\"", param,
                                   member);
}


static ngx_int_t
ngx_http_trifecta_filter_tests(ngx_http_request_t *r, const char *param,
    const char *member, json_t *tests)
{
    json_t            *value;
    ngx_int_t          rc;
    const char        *word;
    tf_filter_test_t   test;

    if (json_object_size(tests) == 0
        || json_object_size(tests) > TF_FILTER_TESTS_MAX)
    {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, param,
                                       "\"%s\": \"%s\" must have 1 to %d "
                                       "tests", param, member,
                                       TF_FILTER_TESTS_MAX);
    }

    json_object_foreach(tests, word, value) {
        test = tf_filter_test(word);

        if (test == TF_FILTER_NTESTS) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, param,
                                           "\"%s\": \"%s\" has an unknown "
                                           "test: there are eq, in, lt, lte, "
                                           "gt and gte", param, member);
        }

        rc = ngx_http_trifecta_filter_value(r, param, member, test, value);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_member_filters(ngx_http_request_t *r, const char *name,
    json_t *value, ngx_http_trifecta_ask_t *ask)
{
    char         folded[TF_META_NAME_MAX + 1];
    json_t      *tests;
    ngx_int_t    rc;
    const char  *member;

    if (!json_is_object(value) || json_object_size(value) > TF_FILTERS_MAX) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                       "\"%s\" must be an object of at most "
                                       "%d members", name, TF_FILTERS_MAX);
    }

    json_object_foreach(value, member, tests) {

        if (tf_meta_name(member, ngx_strlen(member), folded) != 0) {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name,
                                           "\"%s\": a name must be 1 to %d "
                                           "letters, digits, \"_\", \".\" or "
                                           "\"-\", and begin with a letter or "
                                           "\"_\"", name, TF_META_NAME_MAX);
        }

        rc = json_is_object(tests)
             ? ngx_http_trifecta_filter_tests(r, name, folded, tests)
             : ngx_http_trifecta_filter_value(r, name, folded, TF_FILTER_EQ,
                                              tests);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (json_object_size(value) > 0) {
        ask->filters = value;
    }

    return NGX_DECLINED;
}
