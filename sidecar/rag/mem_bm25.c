#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rag/mem_search.h"


#define TF_MEM_TRIES  3

static tf_pg_status_t tf_mem_indexes(tf_mem_search_t *s);
static tf_pg_status_t tf_mem_one(tf_mem_search_t *s,
    const tf_mem_asked_t *asked);
static int tf_mem_rank(tf_mem_search_t *s, const tf_mem_asked_t *asked,
    const tf_mem_index_t *index);
static int tf_mem_serve(tf_mem_search_t *s, const tf_mem_asked_t *asked,
    const tf_mem_index_t *index);
static tf_pg_status_t tf_mem_rest(tf_mem_search_t *s);
static tf_pg_status_t tf_mem_list(tf_mem_search_t *s, tf_rag_list_t *list);


tf_pg_status_t
tf_rag_mem_bm25(tf_rag_mem_t *mem, tf_pg_t *pg, const tf_rag_query_t *query,
    const tf_rag_bm25_t *terms, tf_rag_list_t *list)
{
    tf_pg_status_t   rc;
    tf_mem_search_t  s;

    memset(&s, 0, sizeof(tf_mem_search_t));
    s.mem = mem;
    s.pg = pg;
    s.query = query;
    s.terms = terms;
    s.view = query->view != NULL ? query->view : &s.look;
    s.done = calloc(terms->n + 1, 1);

    if (s.done == NULL || tf_mem_top_init(&s.top, query->k) != 0
        || tf_mem_documents(&s) != 0)
    {
        rc = tf_rag_no_memory(pg);

    } else {
        rc = tf_mem_indexes(&s);
    }

    if (rc == TF_PG_OK) {
        rc = tf_mem_rest(&s);
    }

    if (rc == TF_PG_OK) {
        rc = tf_mem_list(&s, list);
    }

    if (rc == TF_PG_OK && s.nserved && mem->conf->index_check
        && atomic_fetch_add(&mem->searches, 1) % mem->conf->index_check == 0)
    {
        rc = tf_mem_check(&s, list);
    }

    tf_mem_view_free(&s.look);
    tf_mem_top_free(&s.top);
    free(s.documents);
    free(s.served);
    free(s.done);

    return rc;
}


/* Another look if another search has seen more than we did. */

static tf_pg_status_t
tf_mem_indexes(tf_mem_search_t *s)
{
    int              tries;
    size_t           i, k;
    tf_pg_status_t   rc;

    rc = TF_PG_OK;

    for (tries = 0; tries < TF_MEM_TRIES; tries++) {
        rc = TF_PG_OK;

        if (tries || s->view == &s->look) {
            rc = tf_mem_ask(s);
        }

        s->again = 0;
        s->missed = 0;

        for (i = 0; i < s->view->nasked && rc == TF_PG_OK; i++) {
            for (k = 0; k < s->nserved; k++) {
                if (s->served[k].collection
                    == s->view->asked[i].collection) {
                    break;
                }
            }

            if (k == s->nserved) {
                rc = tf_mem_one(s, &s->view->asked[i]);
            }
        }

        if (rc != TF_PG_OK || !s->again) {
            break;
        }
    }

    if (s->missed || s->again) {
        atomic_fetch_add(&s->mem->fallbacks, 1);

    } else if (s->nserved) {
        atomic_fetch_add(&s->mem->hits, 1);
    }

    return rc;
}


static tf_pg_status_t
tf_mem_one(tf_mem_search_t *s, const tf_mem_asked_t *asked)
{
    int               rc, wish, tries;
    int64_t           now;
    tf_mem_entry_t   *entry;
    tf_mem_status_t   status;

    now = tf_clock_ms();
    rc = 0;
    wish = 1;
    tries = 0;
    status = TF_MEM_DONE;

    entry = tf_mem_shelf_get(&s->mem->shelf, asked->collection, now);

    while (entry != NULL && status == TF_MEM_DONE) {
        (void) pthread_rwlock_rdlock(&entry->lock);

        if (entry->version == asked->version
            && strcmp(entry->stamp, asked->stamp) == 0)
        {
            rc = tf_mem_rank(s, asked, &entry->index);
            (void) pthread_rwlock_unlock(&entry->lock);
            wish = 0;
            break;
        }

        if (entry->version > asked->version
            && now - entry->advanced < TF_MEM_IDLE_MS)
        {
            (void) pthread_rwlock_unlock(&entry->lock);
            s->again = 1;
            wish = 0;
            break;
        }

        /* the store went back, or does not say what has changed */

        if (entry->version >= asked->version || tries++ > 0) {
            status = TF_MEM_LOST;
        }

        (void) pthread_rwlock_unlock(&entry->lock);

        if (status == TF_MEM_LOST) {
            tf_mem_shelf_drop(&s->mem->shelf, entry);

        } else {
            status = tf_mem_bring_forward(s->mem, s->pg, entry,
                                          asked->version, TF_MEM_NEWS);
        }
    }

    if (entry != NULL) {
        tf_mem_shelf_put(&s->mem->shelf, entry);
    }

    if (status == TF_MEM_STORE) {
        return s->pg->conn == NULL ? TF_PG_DOWN : TF_PG_ERROR;
    }

    if (wish) {
        s->missed = 1;
        tf_rag_mem_wish(s->mem, asked->collection, asked->tenant);
    }

    return rc == 0 ? TF_PG_OK : tf_rag_no_memory(s->pg);
}


static int
tf_mem_rank(tf_mem_search_t *s, const tf_mem_asked_t *asked,
    const tf_mem_index_t *index)
{
    tf_mem_query_t  query;

    if (tf_mem_serve(s, asked, index) != 0) {
        return -1;
    }

    memset(&query, 0, sizeof(tf_mem_query_t));
    query.terms = s->terms->ids;
    query.weights = s->terms->weights;
    query.bits = s->terms->bits;
    query.n = s->terms->n;
    query.length = s->terms->length;
    query.others = s->terms->others;
    query.acls = s->view->acls;
    query.nacls = s->view->nacls;
    query.documents = (const uint8_t (*)[TF_MEM_UUID]) s->documents;
    query.ndocuments = s->ndocuments;
    query.all_documents = s->query->scope.documents == NULL;

    return tf_mem_index_rank(index, &query, &s->top);
}


/*
 * A term is one collection's, so it is ranked once.  One that the index does
 * not know may be another's: it is left to the others, and to the store.
 */

static int
tf_mem_serve(tf_mem_search_t *s, const tf_mem_asked_t *asked,
    const tf_mem_index_t *index)
{
    size_t            k;
    tf_mem_reader_t   reader;
    tf_mem_served_t  *served;

    served = realloc(s->served, (s->nserved + 1) * sizeof(tf_mem_served_t));
    if (served == NULL) {
        return -1;
    }

    s->served = served;
    served[s->nserved].collection = asked->collection;
    served[s->nserved].version = asked->version;
    s->nserved++;

    for (k = 0; k < s->terms->n; k++) {
        s->done[k] |= tf_mem_terms_read(&index->terms, s->terms->ids[k],
                                        &reader) != 0;
    }

    return 0;
}


/* The collections that have no index, by the store. */

static tf_pg_status_t
tf_mem_rest(tf_mem_search_t *s)
{
    size_t            i;
    tf_mem_hit_t      hit;
    tf_rag_list_t     list;
    tf_rag_bm25_t     rest;
    tf_pg_status_t    rc;

    memset(&list, 0, sizeof(tf_rag_list_t));
    rc = TF_PG_OK;

    if (tf_rag_bm25_alloc(&rest, s->terms->n) != 0) {
        tf_rag_bm25_free(&rest);
        return tf_rag_no_memory(s->pg);
    }

    rest.length = s->terms->length;

    for (i = 0; i < s->terms->n; i++) {
        if (!s->done[i]) {
            rest.ids[rest.n] = s->terms->ids[i];
            rest.weights[rest.n] = s->terms->weights[i];
            rest.bits[rest.n] = s->terms->bits[i];
            rest.n++;
        }
    }

    if (rest.n) {
        rc = tf_rag_bm25_store(s->pg, s->query, &rest, &list);
    }

    for (i = 0; i < list.n; i++) {
        hit.chunk = list.of[i].chunk;
        hit.score = list.of[i].score;
        hit.own = list.of[i].own;
        hit.terms = list.of[i].terms;
        tf_mem_top_show(&s->top, &hit);
    }

    tf_rag_list_free(&list);
    tf_rag_bm25_free(&rest);

    return rc;
}


static tf_pg_status_t
tf_mem_list(tf_mem_search_t *s, tf_rag_list_t *list)
{
    size_t  i;

    list->of = calloc(s->top.n + 1, sizeof(tf_rag_ranked_t));
    if (list->of == NULL) {
        return tf_rag_no_memory(s->pg);
    }

    tf_mem_top_sort(&s->top);

    for (i = 0; i < s->top.n; i++) {
        list->of[i].chunk = s->top.hits[i].chunk;
        list->of[i].score = s->top.hits[i].score;
        list->of[i].own = s->top.hits[i].own;
        list->of[i].terms = s->top.hits[i].terms;
    }

    list->n = s->top.n;

    return TF_PG_OK;
}
