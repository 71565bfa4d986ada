#include "rag/meta.h"

#include <stdio.h>
#include <string.h>

#include <trifecta/meta.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/search.h"


int
tf_rag_meta_given(tf_buf_t *given, size_t nmeta, const char *pair, char *err,
    size_t errlen)
{
    char         name[TF_META_NAME_MAX + 1];
    size_t       len;
    const char  *value;

    value = strchr(pair, '=');

    if (value == NULL
        || tf_meta_name(pair, (size_t) (value - pair), name) != 0)
    {
        (void) snprintf(err, errlen, "\"%.80s\" is no NAME=VALUE: a name is 1 "
                        "to %d letters, digits, \"_\", \".\" or \"-\", and "
                        "begins with a letter", pair, TF_META_NAME_MAX);
        return -1;
    }

    value++;
    len = strlen(value);

    if (len == 0 || len > TF_META_TEXT_MAX
        || tf_utf8_valid(value, len) != len
        || strcspn(value, "\r\n") != len)
    {
        (void) snprintf(err, errlen, "the value of \"%s\" must be one line of "
                        "1 to %d bytes of UTF-8", name, TF_META_TEXT_MAX);
        return -1;
    }

    if (nmeta >= TF_META_VALUES_MAX) {
        (void) snprintf(err, errlen, "more than %d values",
                        TF_META_VALUES_MAX);
        return -1;
    }

    tf_buf_printf(given, "%s=%s\n", name, value);

    if (given->failed) {
        (void) snprintf(err, errlen, "out of memory");
        return -1;
    }

    return 0;
}


static void
tf_rag_meta_row(tf_rag_meta_t *meta, const char *document, size_t seq,
    const char *name, size_t nlen, const char *value, size_t len)
{
    char            text[32];
    double          number;
    tf_meta_date_t  date;

    tf_array_text(&meta->documents, document, strlen(document));
    tf_array_text(&meta->names, name, nlen);
    tf_array_int(&meta->seqs, (long long) seq);
    tf_array_text(&meta->values, value, len);
    meta->n++;

    if (tf_meta_number(value, len, &number) == 0) {
        (void) snprintf(text, sizeof(text), "%.17g", number);
        tf_array_text(&meta->numbers, text, strlen(text));

    } else {
        tf_array_null(&meta->numbers);
    }

    if (tf_meta_date(value, len, &date) == 0) {
        tf_array_int(&meta->moments, date.ms);

    } else {
        tf_array_null(&meta->moments);
    }
}


/* Whether lines "name=value" have the name. */

static int
tf_rag_meta_has(const char *given, const char *name)
{
    size_t       len;
    const char  *line;

    len = strlen(name);

    for (line = given; *line; line += strcspn(line, "\n") + 1) {
        if (strncmp(line, name, len) == 0 && line[len] == '=') {
            return 1;
        }
    }

    return 0;
}


void
tf_rag_meta_add(tf_rag_meta_t *meta, const tf_rag_target_t *target,
    const char *document, const tf_text_t *text)
{
    size_t       i, n, len, seq;
    const char  *line, *given;

    given = target->given == NULL ? "" : target->given;
    seq = 0;

    for (line = given; *line; line += len + 1) {
        len = strcspn(line, "\n");
        n = strcspn(line, "=");
        tf_rag_meta_row(meta, document, seq++, line, n, line + n + 1,
                        len - n - 1);
    }

    for (i = 0; i < text->nmeta && seq < TF_META_VALUES_MAX; i++) {
        if (!tf_rag_meta_has(given, text->meta[i].name)) {
            tf_rag_meta_row(meta, document, seq++, text->meta[i].name,
                            strlen(text->meta[i].name), text->meta[i].value,
                            strlen(text->meta[i].value));
        }
    }
}


tf_pg_status_t
tf_rag_meta_put(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *stored, tf_rag_meta_t *meta)
{
    int              failed;
    char             ids[2][16];
    size_t           i;
    const char      *params[8];
    tf_pg_status_t   rc;

    tf_buf_t *const  arrays[] = { &meta->documents, &meta->names, &meta->seqs,
                                  &meta->values, &meta->numbers,
                                  &meta->moments };

    rc = TF_PG_OK;

    if (strcmp(stored, "{}") != 0) {
        params[0] = stored;

        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                         "DELETE FROM trifecta.document_meta "
                         "WHERE document = ANY ($1::uuid[])", 1, params);
    }

    if (rc != TF_PG_OK || meta->n == 0) {
        return rc;
    }

    for (i = 0, failed = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        tf_array_close(arrays[i]);
        failed |= arrays[i]->failed;
        params[2 + i] = arrays[i]->data;
    }

    if (failed) {
        return tf_rag_no_memory(pg);
    }

    (void) snprintf(ids[0], sizeof(ids[0]), "%d", target->collection_id);
    (void) snprintf(ids[1], sizeof(ids[1]), "%d", target->acl_id);
    params[0] = ids[0];
    params[1] = ids[1];

    return tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                       "INSERT INTO trifecta.document_meta (collection, acl, "
                       "document, name, seq, value, number, moment) "
                       "SELECT $1::integer, $2::integer, m.document, m.name, "
                       "m.seq, m.value, m.number, "
                       "to_timestamp(m.ms / 1000.0) "
                       "FROM unnest($3::uuid[], $4::text[], $5::smallint[], "
                       "$6::text[], $7::float8[], $8::bigint[]) "
                       "AS m(document, name, seq, value, number, ms)", 8,
                       params);
}


void
tf_rag_meta_free(tf_rag_meta_t *meta)
{
    tf_buf_free(&meta->documents);
    tf_buf_free(&meta->names);
    tf_buf_free(&meta->seqs);
    tf_buf_free(&meta->values);
    tf_buf_free(&meta->numbers);
    tf_buf_free(&meta->moments);
}
