#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rag/mem_search.h"


#define TF_MEM_EQUAL  1e-9      /* of a score */


static int tf_mem_near(double a, double b);
static void tf_mem_wrong(tf_mem_search_t *s);


/*
 * They may differ because of what was committed in between: only if nothing
 * was, it is the index that is wrong.  Versions only grow, so their sum says
 * whether one did.
 */

tf_pg_status_t
tf_mem_check(tf_mem_search_t *s, tf_rag_list_t *list)
{
    long long        before;
    tf_rag_list_t    store;
    tf_pg_status_t   rc;

    memset(&store, 0, sizeof(tf_rag_list_t));
    before = s->view->versions;

    rc = tf_rag_bm25_store(s->pg, s->query, s->terms, &store);
    if (rc != TF_PG_OK) {
        return rc;
    }

    if (tf_mem_same(list, &store, s->query->k)) {
        atomic_fetch_add(&s->mem->checks, 1);

    } else {
        rc = tf_mem_ask(s);

        if (rc == TF_PG_OK && s->view->versions == before) {
            atomic_fetch_add(&s->mem->checks, 1);
            tf_mem_wrong(s);
        }

        tf_rag_list_free(list);
        list->of = store.of;
        list->n = store.n;
        store.of = NULL;
    }

    tf_rag_list_free(&store);

    return rc;
}


static void
tf_mem_wrong(tf_mem_search_t *s)
{
    size_t           i;
    tf_mem_entry_t  *entry;

    atomic_fetch_add(&s->mem->mismatches, 1);

    for (i = 0; i < s->nserved; i++) {
        tf_log(TF_LOG_ERROR, "an index in memory and the store rank "
               "differently: the index of collection %d, version %lld, is "
               "thrown away; please report this",
               s->served[i].collection, s->served[i].version);

        entry = tf_mem_shelf_get(&s->mem->shelf, s->served[i].collection,
                                 tf_clock_ms());
        if (entry != NULL) {
            tf_mem_shelf_drop(&s->mem->shelf, entry);
            tf_mem_shelf_put(&s->mem->shelf, entry);
        }
    }
}


static int
tf_mem_near(double a, double b)
{
    return fabs(a - b) <= TF_MEM_EQUAL * (fabs(a) + fabs(b));
}


int
tf_mem_same(const tf_rag_list_t *a, const tf_rag_list_t *b, size_t k)
{
    size_t  i, j;

    if (a->n != b->n) {
        return 0;
    }

    for (i = 0; i < a->n; i++) {
        if (!tf_mem_near(a->of[i].score, b->of[i].score)) {
            return 0;
        }
    }

    for (i = 0; i < a->n; i++) {
        for (j = 0; j < b->n && b->of[j].chunk != a->of[i].chunk; j++) {
            /* void */
        }

        if (j < b->n) {
            if (!tf_mem_near(a->of[i].score, b->of[j].score)
                || a->of[i].terms != b->of[j].terms)
            {
                return 0;
            }

        } else if (a->n < k
                   || !tf_mem_near(a->of[i].score, a->of[a->n - 1].score))
        {
            /* only of those that are as good as the last, others may be in */
            return 0;
        }
    }

    return 1;
}
