#include "cli/ask.h"

#include <stdio.h>
#include <string.h>

#include <trifecta/meta.h>


/* "collections" and "filters" of a question, from the options of "ask". */


int
tf_ask_collection(json_t *body, const char *name)
{
    json_t  *list;

    list = json_object_get(body, "collections");

    if (list == NULL) {
        list = json_array();

        if (json_object_set_new(body, "collections", list) != 0) {
            return -1;
        }
    }

    return json_array_append_new(list, json_string(name));
}


/* The test at the mark, "eq" for "=", and the bytes that the mark has. */

static const char *
tf_ask_mark(const char *mark, size_t *len)
{
    *len = mark[0] != '=' && mark[1] == '=' ? 2 : 1;

    switch (mark[0]) {

    case '<':
        return *len == 2 ? "lte" : "lt";

    case '>':
        return *len == 2 ? "gte" : "gt";

    default: /* = */
        return "eq";
    }
}


int
tf_ask_filter(json_t *body, const char *filter, char *err, size_t errlen)
{
    int          rc;
    char         name[TF_META_NAME_MAX + 1];
    double       number;
    size_t       n, len;
    json_t      *filters, *tests, *value;
    const char  *test, *text;

    n = strcspn(filter, "<>=");

    if (filter[n] == '\0' || tf_meta_name(filter, n, name) != 0) {
        (void) snprintf(err, errlen, "\"%.80s\" is no filter: NAME=VALUE is "
                        "expected, or <, <=, > or >= in between", filter);
        return -1;
    }

    test = tf_ask_mark(filter + n, &len);
    text = filter + n + len;

    filters = json_object_get(body, "filters");

    if (filters == NULL) {
        filters = json_object();

        if (json_object_set_new(body, "filters", filters) != 0) {
            (void) snprintf(err, errlen, "out of memory");
            return -1;
        }
    }

    tests = json_object_get(filters, name);

    if (tests == NULL) {
        tests = json_object();
        rc = json_object_set_new(filters, name, tests);

    } else {
        rc = 0;
    }

    value = tf_meta_number(text, strlen(text), &number) == 0
            ? json_real(number) : json_string(text);

    if (rc != 0 || value == NULL) {
        json_decref(value);
        (void) snprintf(err, errlen, "\"%.80s\" is not UTF-8", filter);
        return -1;
    }

    if (json_object_get(tests, test) != NULL) {
        json_decref(value);
        (void) snprintf(err, errlen, "\"%s\" is asked for twice; a document "
                        "must pass every filter", name);
        return -1;
    }

    return json_object_set_new(tests, test, value);
}
