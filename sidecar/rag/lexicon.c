#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/lexicon.h"
#include "rag/search.h"


static uint32_t tf_lexicon_hash(const char *term, size_t len);
static int tf_lexicon_grow(tf_lexicon_t *lexicon);
static tf_pg_status_t tf_lexicon_ask(tf_lexicon_t *lexicon, tf_pg_t *pg,
    const char *collection);
static tf_pg_status_t tf_lexicon_make(tf_lexicon_t *lexicon, tf_pg_t *pg,
    const char *collection);
static tf_pg_status_t tf_lexicon_unknown(const tf_lexicon_t *lexicon,
    tf_pg_t *pg, tf_buf_t *array);


static uint32_t
tf_lexicon_hash(const char *term, size_t len)
{
    size_t    i;
    uint32_t  h;

    /* FNV-1a */

    for (i = 0, h = 2166136261U; i < len; i++) {
        h = (h ^ (unsigned char) term[i]) * 16777619U;
    }

    return h ^ (h >> 15);
}


/* Twice as many places; the table is never more than half full. */

static int
tf_lexicon_grow(tf_lexicon_t *lexicon)
{
    size_t        i, k, room;
    uint32_t     *table;
    tf_lexeme_t  *list;

    room = lexicon->room ? 2 * lexicon->room : 4096;

    list = realloc(lexicon->list, room * sizeof(tf_lexeme_t));
    if (list == NULL) {
        return -1;
    }

    lexicon->list = list;

    table = calloc(2 * room, sizeof(uint32_t));
    if (table == NULL) {
        return -1;
    }

    lexicon->room = room;
    free(lexicon->table);
    lexicon->table = table;
    lexicon->size = 2 * room;

    for (i = 0; i < lexicon->n; i++) {
        k = tf_lexicon_hash(list[i].term, strlen(list[i].term));

        while (table[k & (lexicon->size - 1)]) {
            k++;
        }

        table[k & (lexicon->size - 1)] = (uint32_t) i + 1;
    }

    return 0;
}


long
tf_lexicon_add(tf_lexicon_t *lexicon, const char *term, size_t len)
{
    size_t        k;
    uint32_t      place;
    tf_lexeme_t  *lexeme;

    if (lexicon->n == lexicon->room && tf_lexicon_grow(lexicon) != 0) {
        return -1;
    }

    for (k = tf_lexicon_hash(term, len); /* void */; k++) {
        place = lexicon->table[k & (lexicon->size - 1)];

        if (place == 0) {
            break;
        }

        lexeme = &lexicon->list[place - 1];

        if (strncmp(lexeme->term, term, len) == 0
            && lexeme->term[len] == '\0')
        {
            return (long) place - 1;
        }
    }

    lexeme = &lexicon->list[lexicon->n];
    memset(lexeme, 0, sizeof(tf_lexeme_t));

    lexeme->term = strndup(term, len);
    if (lexeme->term == NULL) {
        return -1;
    }

    lexicon->table[k & (lexicon->size - 1)] = (uint32_t) ++lexicon->n;

    return (long) lexicon->n - 1;
}


void
tf_lexicon_reset(tf_lexicon_t *lexicon)
{
    size_t  i;

    for (i = 0; i < lexicon->n; i++) {
        free(lexicon->list[i].term);
    }

    free(lexicon->list);
    free(lexicon->table);
    memset(lexicon, 0, sizeof(tf_lexicon_t));
}


/*
 * What was asked for and is not there is made, and asked for again: somebody
 * else may have been faster.
 */

tf_pg_status_t
tf_lexicon_resolve(tf_lexicon_t *lexicon, tf_pg_t *pg, const char *tenant,
    const char *owner, int collection)
{
    char             number[16];
    tf_pg_status_t   rc;

    if (lexicon->known == lexicon->n) {
        return TF_PG_OK;
    }

    (void) snprintf(number, sizeof(number), "%d", collection);

    rc = tf_pg_begin_as(pg, tenant, owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    /* whatever needs them is committed later, and so is on the disk later */

    rc = tf_pg_exec(pg, 0, "SET LOCAL synchronous_commit = off");

    if (rc == TF_PG_OK) {
        rc = tf_lexicon_ask(lexicon, pg, number);
    }

    if (rc == TF_PG_OK && lexicon->known < lexicon->n) {
        rc = tf_lexicon_make(lexicon, pg, number);

        if (rc == TF_PG_OK) {
            rc = tf_lexicon_ask(lexicon, pg, number);
        }

        if (rc == TF_PG_OK && lexicon->known < lexicon->n) {
            pg->sqlstate[0] = '\0';
            (void) snprintf(pg->err, sizeof(pg->err), "a new term of the "
                            "collection cannot be found after it was made");
            rc = TF_PG_ERROR;
        }
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);

    } else {
        tf_pg_rollback(pg);
    }

    if (rc != TF_PG_OK) {
        tf_lexicon_reset(lexicon);
    }

    return rc;
}


/* The array of terms without a number. */

static tf_pg_status_t
tf_lexicon_unknown(const tf_lexicon_t *lexicon, tf_pg_t *pg, tf_buf_t *array)
{
    size_t  i;

    for (i = lexicon->known; i < lexicon->n; i++) {
        if (lexicon->list[i].id == 0) {
            tf_array_text(array, lexicon->list[i].term,
                          strlen(lexicon->list[i].term));
        }
    }

    tf_array_close(array);

    return array->failed ? tf_rag_no_memory(pg) : TF_PG_OK;
}


/*
 * A scalar subquery, so that the plan is one look-up a term and never a scan
 * of the collection's vocabulary.
 */

static tf_pg_status_t
tf_lexicon_ask(tf_lexicon_t *lexicon, tf_pg_t *pg, const char *collection)
{
    int              row, all;
    size_t           i;
    tf_buf_t         array = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[2];
    tf_pg_status_t   rc;

    rc = tf_lexicon_unknown(lexicon, pg, &array);

    if (rc == TF_PG_OK) {
        params[0] = collection;
        params[1] = array.data;

        rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
            "SELECT coalesce((SELECT id FROM trifecta.term x "
                "WHERE x.collection = $1 AND x.term = u.t), 0) "
            "FROM unnest($2::text[]) WITH ORDINALITY AS u(t, ord) "
            "ORDER BY ord", 2, params);
    }

    tf_buf_free(&array);

    if (rc != TF_PG_OK) {
        return rc;
    }

    all = 1;

    for (i = lexicon->known, row = 0; i < lexicon->n; i++) {
        if (lexicon->list[i].id == 0 && row < PQntuples(res)) {
            lexicon->list[i].id = atoll(PQgetvalue(res, row++, 0));
        }

        all &= lexicon->list[i].id != 0;
    }

    PQclear(res);

    if (all) {
        lexicon->known = lexicon->n;
    }

    return TF_PG_OK;
}


/* Sorted: who makes the same terms at the same time waits and goes on. */

static tf_pg_status_t
tf_lexicon_make(tf_lexicon_t *lexicon, tf_pg_t *pg, const char *collection)
{
    tf_buf_t         array = TF_BUF_INIT;
    const char      *params[2];
    tf_pg_status_t   rc;

    rc = tf_lexicon_unknown(lexicon, pg, &array);

    if (rc == TF_PG_OK) {
        params[0] = collection;
        params[1] = array.data;

        rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
            "INSERT INTO trifecta.term (collection, term, df) "
            "SELECT $1, t, 0 FROM unnest($2::text[]) AS t "
            "ORDER BY t COLLATE \"C\" ON CONFLICT DO NOTHING", 2, params);
    }

    tf_buf_free(&array);

    return rc;
}
