#include "db/pg_columns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <trifecta/id.h>


/* An array is: dimensions, whether one is NULL, type; length, first index. */

#define TF_PG_ARRAY_HEAD  20

#define TF_PG_EPOCH_MS    946684800000      /* 2000-01-01, of 1970 */


static void
tf_pg_put32(tf_buf_t *b, uint32_t n)
{
    n = htonl(n);
    tf_buf_append(b, &n, sizeof(n));
}


void
tf_pg_columns_init(tf_pg_columns_t *c, const tf_pg_type_t *types, unsigned n)
{
    unsigned  i;
    uint32_t  head[TF_PG_ARRAY_HEAD / sizeof(uint32_t)];

    memset(c, 0, sizeof(tf_pg_columns_t));
    c->n = n;

    for (i = 0; i < n; i++) {
        c->column[i].type = types[i];
        head[0] = htonl(1);
        head[1] = htonl(1);
        head[2] = htonl((uint32_t) types[i]);
        head[3] = 0;
        head[4] = htonl(1);
        tf_buf_append(&c->column[i].data, head, sizeof(head));
    }
}


void
tf_pg_columns_free(tf_pg_columns_t *c)
{
    unsigned  i;

    for (i = 0; i < c->n; i++) {
        tf_buf_free(&c->column[i].data);
    }
}


/* Where the next value goes. */

static tf_pg_column_t *
tf_pg_columns_next(tf_pg_columns_t *c)
{
    tf_pg_column_t  *column;

    column = &c->column[c->at++];

    if (c->at == c->n) {
        c->at = 0;
        c->rows++;
    }

    return column;
}


void
tf_pg_columns_null(tf_pg_columns_t *c)
{
    tf_pg_put32(&tf_pg_columns_next(c)->data, (uint32_t) -1);
}


void
tf_pg_columns_text(tf_pg_columns_t *c, const char *text)
{
    size_t           len;
    tf_pg_column_t  *column;

    column = tf_pg_columns_next(c);

    if (text == NULL || (column->type == TF_PG_TYPE_JSONB && !*text)) {
        tf_pg_put32(&column->data, (uint32_t) -1);
        return;
    }

    len = strlen(text);

    if (column->type == TF_PG_TYPE_JSONB) {
        /* the version of its form, and then the text */
        tf_pg_put32(&column->data, (uint32_t) len + 1);
        tf_buf_append(&column->data, "\1", 1);

    } else {
        tf_pg_put32(&column->data, (uint32_t) len);
    }

    tf_buf_append(&column->data, text, len);
}


void
tf_pg_columns_num(tf_pg_columns_t *c, int64_t num)
{
    uint16_t         two;
    tf_pg_column_t  *column;

    column = tf_pg_columns_next(c);

    switch (column->type) {

    case TF_PG_TYPE_INT2:
        two = htons((uint16_t) num);
        tf_pg_put32(&column->data, sizeof(two));
        tf_buf_append(&column->data, &two, sizeof(two));
        return;

    case TF_PG_TYPE_INT4:
        tf_pg_put32(&column->data, sizeof(uint32_t));
        tf_pg_put32(&column->data, (uint32_t) num);
        return;

    case TF_PG_TYPE_MOMENT:
        num = (num - TF_PG_EPOCH_MS) * 1000;
        break;

    default:
        break;
    }

    tf_pg_put32(&column->data, sizeof(num));
    tf_pg_put32(&column->data, (uint32_t) ((uint64_t) num >> 32));
    tf_pg_put32(&column->data, (uint32_t) num);
}


void
tf_pg_columns_id(tf_pg_columns_t *c, const char *id)
{
    tf_id_t          octets;
    tf_pg_column_t  *column;

    column = tf_pg_columns_next(c);

    if (tf_id_parse(&octets, id, strlen(id)) != 0) {
        tf_pg_put32(&column->data, (uint32_t) -1);
        return;
    }

    tf_pg_put32(&column->data, sizeof(octets.octets));
    tf_buf_append(&column->data, octets.octets, sizeof(octets.octets));
}


tf_pg_status_t
tf_pg_prepared_columns(tf_pg_t *pg, PGresult **res, int timeout,
    const char *sql, tf_pg_columns_t *c)
{
    int             lengths[TF_PG_COLUMNS], formats[TF_PG_COLUMNS];
    uint32_t        rows;
    unsigned        i;
    const char     *values[TF_PG_COLUMNS];
    tf_pg_params_t  params;

    rows = htonl(c->rows);

    for (i = 0; i < c->n; i++) {
        if (c->column[i].data.failed) {
            *res = NULL;
            (void) snprintf(pg->err, sizeof(pg->err),
                            "out of memory for a batch");
            return TF_PG_DOWN;
        }

        memcpy(c->column[i].data.data + 12, &rows, sizeof(rows));
        values[i] = c->column[i].data.data;
        lengths[i] = (int) c->column[i].data.len;
        formats[i] = 1;
    }

    params.n = (int) c->n;
    params.values = values;
    params.lengths = lengths;
    params.formats = formats;

    return tf_pg_prepared_with(pg, res, timeout, sql, &params);
}
