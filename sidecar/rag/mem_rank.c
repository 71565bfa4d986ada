#include "rag/mem_index.h"

#include <stdlib.h>
#include <string.h>


/*
 * The slots are looked at in windows, so that the sums of one fit into the
 * processor's nearest memory, however large the collection is.
 */

#define TF_MEM_WINDOW  2048

typedef struct {
    tf_mem_reader_t   reader;
    uint32_t          slot;     /* the posting that is next */
    uint32_t          tf;
    double            weight;
    uint64_t          bit;
} tf_mem_cursor_t;

typedef struct {
    double            score[TF_MEM_WINDOW];
    double            own[TF_MEM_WINDOW];
    uint64_t          terms[TF_MEM_WINDOW];     /* 0: not touched */
    uint16_t          touched[TF_MEM_WINDOW];
    size_t            n;
} tf_mem_window_t;


/* acls of the index, by their place: whether the query allows them. */

static uint8_t *
tf_mem_rank_acls(const tf_mem_index_t *index, const tf_mem_query_t *query)
{
    size_t     low, high, mid;
    uint8_t   *allowed;
    uint32_t   i;

    allowed = calloc(index->nacls + 1, 1);
    if (allowed == NULL) {
        return NULL;
    }

    for (i = 1; i <= index->nacls; i++) {
        for (low = 0, high = query->nacls; low < high; /* void */) {
            mid = (low + high) / 2;

            if (query->acls[mid] < index->acls[i]) {
                low = mid + 1;

            } else {
                high = mid;
            }
        }

        allowed[i] = low < query->nacls && query->acls[low] == index->acls[i];
    }

    return allowed;
}


static int
tf_mem_rank_document(const tf_mem_query_t *query, const uint8_t *document)
{
    int     rc;
    size_t  low, high, mid;

    for (low = 0, high = query->ndocuments; low < high; /* void */) {
        mid = (low + high) / 2;
        rc = memcmp(query->documents[mid], document, TF_MEM_UUID);

        if (rc == 0) {
            return 1;
        }

        if (rc < 0) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return 0;
}


/* The formula is the one of rank_bm25.c, in the order of its terms. */

static void
tf_mem_rank_term(const tf_mem_index_t *index, const tf_mem_query_t *query,
    const uint8_t *allowed, tf_mem_cursor_t *cursor, uint32_t start,
    tf_mem_window_t *window)
{
    double                tf, score;
    uint32_t              i;
    const tf_mem_slot_t  *slot;

    while (cursor->slot - start < TF_MEM_WINDOW) {
        slot = &index->slots[cursor->slot];

        if (allowed[slot->acl]) {
            i = cursor->slot - start;
            tf = cursor->tf;

            if (window->terms[i] == 0) {
                window->score[i] = 0;
                window->own[i] = 0;
                window->touched[window->n++] = (uint16_t) i;
            }

            window->terms[i] |= cursor->bit;
            score = cursor->weight * tf * 2.2
                    / (tf + 0.3 + 0.9 * slot->len / query->length);
            window->score[i] += score;

            if (!(cursor->bit & query->others)) {
                window->own[i] += score;
            }
        }

        if (!tf_mem_read(&cursor->reader, &cursor->slot, &cursor->tf)) {
            cursor->slot = TF_MEM_GONE;
            return;
        }
    }
}


static void
tf_mem_rank_show(const tf_mem_index_t *index, const tf_mem_query_t *query,
    uint32_t start, tf_mem_window_t *window, tf_mem_top_t *top)
{
    size_t                i;
    uint32_t              at;
    tf_mem_hit_t          hit;
    const tf_mem_slot_t  *slot;

    for (i = 0; i < window->n; i++) {
        at = window->touched[i];
        slot = &index->slots[start + at];

        if (query->all_documents
            || tf_mem_rank_document(query, slot->document))
        {
            hit.chunk = slot->chunk;
            hit.score = window->score[at];
            hit.own = window->own[at];
            hit.terms = window->terms[at];
            tf_mem_top_show(top, &hit);
        }

        window->terms[at] = 0;
    }

    window->n = 0;
}


int
tf_mem_index_rank(const tf_mem_index_t *index, const tf_mem_query_t *query,
    tf_mem_top_t *top)
{
    int               rc;
    size_t            i, n;
    uint8_t          *allowed;
    uint32_t          start, next;
    tf_mem_cursor_t  *cursors;
    tf_mem_window_t  *window;

    rc = -1;
    allowed = tf_mem_rank_acls(index, query);
    cursors = calloc(query->n + 1, sizeof(tf_mem_cursor_t));
    window = calloc(1, sizeof(tf_mem_window_t));

    if (allowed == NULL || cursors == NULL || window == NULL) {
        goto done;
    }

    for (i = 0, n = 0; i < query->n; i++) {
        if (tf_mem_terms_read(&index->terms, query->terms[i],
                              &cursors[n].reader)
            && tf_mem_read(&cursors[n].reader, &cursors[n].slot,
                           &cursors[n].tf))
        {
            cursors[n].weight = query->weights[i];
            cursors[n].bit = query->bits[i];
            n++;
        }
    }

    for ( ;; ) {
        next = TF_MEM_GONE;

        for (i = 0; i < n; i++) {
            next = cursors[i].slot < next ? cursors[i].slot : next;
        }

        if (next == TF_MEM_GONE) {
            break;
        }

        start = next - next % TF_MEM_WINDOW;

        for (i = 0; i < n; i++) {
            tf_mem_rank_term(index, query, allowed, &cursors[i], start,
                             window);
        }

        tf_mem_rank_show(index, query, start, window, top);
    }

    rc = 0;

done:

    free(allowed);
    free(cursors);
    free(window);

    return rc;
}


/* A heap with the worst of the best in front. */

static int
tf_mem_worse(const tf_mem_hit_t *a, const tf_mem_hit_t *b)
{
    return a->score < b->score
           || (a->score == b->score && a->chunk > b->chunk);
}


static void
tf_mem_top_sink(tf_mem_top_t *top, size_t i, size_t n)
{
    size_t        child;
    tf_mem_hit_t  hit;

    hit = top->hits[i];

    for (child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n
            && tf_mem_worse(&top->hits[child + 1], &top->hits[child]))
        {
            child++;
        }

        if (!tf_mem_worse(&top->hits[child], &hit)) {
            break;
        }

        top->hits[i] = top->hits[child];
        i = child;
    }

    top->hits[i] = hit;
}


int
tf_mem_top_init(tf_mem_top_t *top, size_t k)
{
    top->n = 0;
    top->k = k;
    top->hits = calloc(k + 1, sizeof(tf_mem_hit_t));

    return top->hits == NULL ? -1 : 0;
}


void
tf_mem_top_show(tf_mem_top_t *top, const tf_mem_hit_t *hit)
{
    size_t  i, parent;

    if (top->n < top->k) {
        for (i = top->n++; i > 0; i = parent) {
            parent = (i - 1) / 2;

            if (!tf_mem_worse(hit, &top->hits[parent])) {
                break;
            }

            top->hits[i] = top->hits[parent];
        }

        top->hits[i] = *hit;

    } else if (top->k > 0 && tf_mem_worse(&top->hits[0], hit)) {
        top->hits[0] = *hit;
        tf_mem_top_sink(top, 0, top->n);
    }
}


/* Takes the worst out and puts it behind the rest, until nothing is left. */

void
tf_mem_top_sort(tf_mem_top_t *top)
{
    size_t        n;
    tf_mem_hit_t  hit;

    for (n = top->n; n > 1; /* void */) {
        n--;
        hit = top->hits[0];
        top->hits[0] = top->hits[n];
        top->hits[n] = hit;
        tf_mem_top_sink(top, 0, n);
    }
}


void
tf_mem_top_free(tf_mem_top_t *top)
{
    free(top->hits);
    top->hits = NULL;
    top->n = 0;
}
