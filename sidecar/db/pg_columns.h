#ifndef TF_DB_PG_COLUMNS_H
#define TF_DB_PG_COLUMNS_H


#include "base/buf.h"
#include "db/pg.h"


/*
 * Many rows as the parameters of one statement: an array of each column, in
 * PostgreSQL's binary form, which neither side has to quote or to parse.  The
 * statement takes them apart again:
 *
 *   ... FROM unnest($1::uuid[], $2::text[]) AS x(id, tenant)
 *
 * Set up with init and the types of the columns, then add the values of a row
 * in their order, row after row.  An id that is none is NULL.  Text is not
 * looked at: the server refuses what is not UTF-8, or no JSON.
 */

#define TF_PG_COLUMNS  20

/* X(name, oid): of pg_type, as the statement says it */

#define TF_PG_TYPES(X)                                                        \
    X(INT8,   20)                                                             \
    X(INT2,   21)                                                             \
    X(INT4,   23)                                                             \
    X(TEXT,   25)                                                             \
    X(MOMENT, 1184)     /* timestamptz */                                     \
    X(UUID,   2950)                                                           \
    X(JSONB,  3802)

typedef enum {
#define TF_PG_TYPE_ENUM(name, oid)  TF_PG_TYPE_##name = oid,
    TF_PG_TYPES(TF_PG_TYPE_ENUM)
#undef TF_PG_TYPE_ENUM
} tf_pg_type_t;

typedef struct {
    tf_pg_type_t  type;
    tf_buf_t      data;
} tf_pg_column_t;

typedef struct {
    tf_pg_column_t  column[TF_PG_COLUMNS];
    unsigned        n;              /* columns */
    unsigned        at;             /* the next value's */
    unsigned        rows;
} tf_pg_columns_t;


void tf_pg_columns_init(tf_pg_columns_t *c, const tf_pg_type_t *types,
    unsigned n);
void tf_pg_columns_free(tf_pg_columns_t *c);

/* The next value. */
void tf_pg_columns_null(tf_pg_columns_t *c);

/* TEXT, JSONB; NULL, and JSON of no bytes, is SQL's NULL. */
void tf_pg_columns_text(tf_pg_columns_t *c, const char *text);

/* INT2, INT4, INT8; or MOMENT, in ms since 1970. */
void tf_pg_columns_num(tf_pg_columns_t *c, int64_t num);

/* UUID, of its text. */
void tf_pg_columns_id(tf_pg_columns_t *c, const char *id);

/*
 * tf_pg_prepared() with the columns as $1, $2, ...; no memory is TF_PG_DOWN.
 * There must be a row.
 */
tf_pg_status_t tf_pg_prepared_columns(tf_pg_t *pg, PGresult **res,
    int timeout, const char *sql, tf_pg_columns_t *c);


#endif /* TF_DB_PG_COLUMNS_H */
