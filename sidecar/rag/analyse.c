#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/search.h"
#include "rag/terms.h"


/*
 * From a chunk's text to its terms and how often each is in it.  What the
 * server's text search makes of it comes back as a tsvector is printed:
 * 'lexeme':1,7 'it''s':3, the places where it stands, and is counted here.
 */

static void tf_rag_chunk_text(const tf_rag_put_t *put, tf_buf_t *ids,
    tf_buf_t *rest);
static tf_pg_status_t tf_rag_analyse_batch(tf_pg_t *pg,
    tf_rag_index_t *index, size_t first, size_t last, const char *language);
static int tf_rag_lexemes(tf_rag_index_t *index, tf_rag_put_t *put,
    const char *vector, tf_buf_t *word);
static int tf_rag_identifiers(tf_rag_index_t *index, tf_rag_put_t *put,
    const char *ids);
static int tf_rag_hit(tf_rag_index_t *index, tf_rag_put_t *put,
    const char *term, size_t len, unsigned n);


tf_pg_status_t
tf_rag_index_analyse(tf_pg_t *pg, tf_rag_index_t *index, const char *language)
{
    size_t          first, last;
    tf_pg_status_t  rc;

    if (index->lexicon.n > TF_LEXICON_MAX) {
        tf_lexicon_reset(&index->lexicon);
    }

    rc = TF_PG_OK;

    for (first = 0; first < index->nput && rc == TF_PG_OK; first = last) {
        last = first + TF_RAG_BATCH;
        if (last > index->nput) {
            last = index->nput;
        }

        rc = tf_rag_analyse_batch(pg, index, first, last, language);
    }

    return rc;
}


/* Title, path of headings, the last of them again, body. */

static void
tf_rag_chunk_text(const tf_rag_put_t *put, tf_buf_t *ids, tf_buf_t *rest)
{
    int                k;
    const char        *path, *leaf, *s;
    const tf_text_t   *text;
    const tf_chunk_t  *chunk;

    text = &put->doc->text;
    chunk = &put->doc->chunks[put->chunk];
    path = text->sections[chunk->section];

    leaf = path;
    while ((s = strstr(leaf, " > ")) != NULL) {
        leaf = s + 3;
    }

    tf_terms_split(text->title, strlen(text->title), ids, rest, NULL);
    tf_buf_append(rest, " . ", 3);
    tf_terms_split(path, strlen(path), ids, rest, NULL);

    for (k = 1; k < TF_RAG_HEADING; k++) {
        tf_buf_append(rest, " . ", 3);
        tf_terms_split(leaf, strlen(leaf), ids, rest, NULL);
    }

    tf_buf_append(rest, " . ", 3);
    tf_terms_split(text->data + chunk->start, chunk->end - chunk->start, ids,
                   rest, NULL);
}


static tf_pg_status_t
tf_rag_analyse_batch(tf_pg_t *pg, tf_rag_index_t *index, size_t first,
    size_t last, const char *language)
{
    int              row;
    size_t           i, *ends;
    tf_buf_t         rests = TF_BUF_INIT, rest = TF_BUF_INIT;
    tf_buf_t         ids = TF_BUF_INIT, word = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[2];
    tf_rag_put_t    *put;
    tf_pg_status_t   rc;

    res = NULL;
    rc = TF_PG_OK;

    ends = calloc(last - first + 1, sizeof(size_t));
    if (ends == NULL) {
        return tf_rag_no_memory(pg);
    }

    for (i = first; i < last; i++) {
        tf_buf_reset(&rest);
        tf_rag_chunk_text(&index->put[i], &ids, &rest);
        tf_buf_append(&ids, "", 1);
        ends[i - first + 1] = ids.len;
        tf_array_text(&rests, rest.data, rest.len);
    }

    tf_array_close(&rests);

    if (rests.failed || rest.failed || ids.failed) {
        rc = tf_rag_no_memory(pg);
        goto done;
    }

    params[0] = language;
    params[1] = rests.data;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "SELECT to_tsvector($1::regconfig, t) "
                     "FROM unnest($2::text[]) WITH ORDINALITY AS u(t, ord) "
                     "ORDER BY ord", 2, params);
    if (rc != TF_PG_OK) {
        goto done;
    }

    for (i = first; i < last; i++) {
        row = (int) (i - first);
        put = &index->put[i];
        put->hit = index->nhits;
        index->lexicon.marks++;

        if (row >= PQntuples(res)
            || tf_rag_lexemes(index, put, PQgetvalue(res, row, 0), &word) != 0
            || tf_rag_identifiers(index, put, ids.data + ends[row]) != 0)
        {
            rc = tf_rag_no_memory(pg);
            goto done;
        }
    }

done:

    PQclear(res);
    free(ends);
    tf_buf_free(&rests);
    tf_buf_free(&rest);
    tf_buf_free(&ids);
    tf_buf_free(&word);

    return rc;
}


/* The server keeps at most 256 places of a lexeme, so it is never many. */

static int
tf_rag_lexemes(tf_rag_index_t *index, tf_rag_put_t *put, const char *vector,
    tf_buf_t *word)
{
    unsigned     n;
    const char  *s;

    for (s = vector; *s == '\''; /* void */) {
        tf_buf_reset(word);

        for (s++; *s; s++) {
            if (*s == '\'' && *++s != '\'') {
                break;
            }

            if (*s == '\\') {
                s++;
            }

            tf_buf_append(word, s, 1);
        }

        for (n = 1; *s && *s != ' '; s++) {
            n += (*s == ',');
        }

        if (*s == ' ') {
            s++;
        }

        if (word->failed || word->len == 0
            || tf_rag_hit(index, put, word->data, word->len, n) != 0)
        {
            return -1;
        }
    }

    return 0;
}


static int
tf_rag_identifiers(tf_rag_index_t *index, tf_rag_put_t *put, const char *ids)
{
    size_t  n;

    for ( /* void */ ; *ids; ids += n + 1) {
        n = strcspn(ids, " ");

        if (tf_rag_hit(index, put, ids, n, 1) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
tf_rag_hit(tf_rag_index_t *index, tf_rag_put_t *put, const char *term,
    size_t len, unsigned n)
{
    long           place;
    size_t         room;
    tf_lexeme_t   *lexeme;
    tf_rag_place_t  *hits;

    place = tf_lexicon_add(&index->lexicon, term, len);
    if (place < 0) {
        return -1;
    }

    lexeme = &index->lexicon.list[place];
    put->len += n;

    if (lexeme->mark == index->lexicon.marks) {
        index->hits[lexeme->hit].tf += n;
        return 0;
    }

    if (index->nhits == index->hit_room) {
        room = index->hit_room ? 2 * index->hit_room : 16384;

        hits = realloc(index->hits, room * sizeof(tf_rag_place_t));
        if (hits == NULL) {
            return -1;
        }

        index->hits = hits;
        index->hit_room = room;
    }

    lexeme->mark = index->lexicon.marks;
    lexeme->hit = index->nhits;

    index->hits[index->nhits].lexeme = (size_t) place;
    index->hits[index->nhits].tf = n;
    index->nhits++;
    put->nhits++;

    return 0;
}
