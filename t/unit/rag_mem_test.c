/* links: sidecar/rag/mem_map.c sidecar/rag/mem_terms.c
 *        sidecar/rag/mem_index.c sidecar/rag/mem_rank.c
 *        sidecar/rag/mem_shelf.c */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rag/mem_index.h"
#include "rag/mem_shelf.h"


#define CHUNKS   6000           /* more than two windows */
#define TERMS    300
#define ACLS     5
#define TERMS_A_CHUNK  12

/* A store of the same that is as simple as can be. */

typedef struct {
    int64_t   terms[TERMS_A_CHUNK];
    int32_t   tfs[TERMS_A_CHUNK];
    size_t    n;
    int32_t   acl;
    uint32_t  len;
    int       there;
} plain_t;

static uint64_t  seed = 20261121;


static uint32_t
any(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;

    return (uint32_t) (seed >> 33) % below;
}


static void
document_of(size_t i, uint8_t *document)
{
    memset(document, 0, TF_MEM_UUID);
    document[0] = (uint8_t) (i / 2560);
    document[TF_MEM_UUID - 1] = (uint8_t) (i / 10);
}


static void
plain_make(plain_t *p)
{
    size_t   i;
    int64_t  term;

    memset(p, 0, sizeof(plain_t));
    p->acl = 7 + (int32_t) any(ACLS);
    p->len = 1 + any(200);
    p->there = 1;

    while (p->n < TERMS_A_CHUNK - any(6)) {
        /* some terms are everywhere, some are rare */
        term = 1 + any(1 + any(TERMS));

        for (i = 0; i < p->n && p->terms[i] != term; i++) {
            /* void */
        }

        if (i == p->n) {
            p->terms[p->n] = term;
            p->tfs[p->n++] = any(3) ? 1 : 1 + (int32_t) any(400);
        }
    }
}


static void
put(tf_mem_index_t *index, const plain_t *p, size_t i)
{
    tf_mem_chunk_t  chunk;

    chunk.chunk = (int64_t) i + 1;
    chunk.acl = p->acl;
    chunk.len = p->len;
    chunk.terms = p->terms;
    chunk.tfs = p->tfs;
    chunk.n = p->n;
    document_of(i, chunk.document);
    assert_int_equal(tf_mem_index_add(index, &chunk), 0);
}


static void
plain_rank(const plain_t *all, size_t n, const tf_mem_query_t *query,
    tf_mem_top_t *top)
{
    double        tf, score;
    size_t        i, k, j;
    uint8_t       document[TF_MEM_UUID];
    tf_mem_hit_t  hit;

    for (i = 0; i < n; i++) {
        for (k = 0; k < query->nacls && query->acls[k] != all[i].acl; k++) {
            /* void */
        }

        if (!all[i].there || k == query->nacls) {
            continue;
        }

        document_of(i, document);

        for (k = 0; k < query->ndocuments
                    && memcmp(query->documents[k], document, TF_MEM_UUID);
             k++)
        {
            /* void */
        }

        if (!query->all_documents && k == query->ndocuments) {
            continue;
        }

        hit.chunk = (int64_t) i + 1;
        hit.score = 0;
        hit.own = 0;
        hit.terms = 0;

        for (k = 0; k < query->n; k++) {
            for (j = 0; j < all[i].n; j++) {
                if (all[i].terms[j] == query->terms[k]) {
                    tf = all[i].tfs[j];
                    score = query->weights[k] * tf * 2.2
                            / (tf + 0.3 + 0.9 * all[i].len / query->length);
                    hit.score += score;
                    hit.own += query->bits[k] & query->others ? 0 : score;
                    hit.terms |= query->bits[k];
                }
            }
        }

        if (hit.terms) {
            tf_mem_top_show(top, &hit);
        }
    }

    tf_mem_top_sort(top);
}


/* One random question to both. */

static void
ask(const tf_mem_index_t *index, const plain_t *all, size_t n)
{
    size_t          i;
    double          weights[8];
    int32_t         acls[ACLS];
    int64_t         terms[8];
    uint64_t        bits[8];
    uint8_t         documents[40][TF_MEM_UUID];
    tf_mem_top_t    a, b;
    tf_mem_query_t  query;

    memset(&query, 0, sizeof(query));
    query.terms = terms;
    query.weights = weights;
    query.bits = bits;
    query.n = 1 + any(8);
    query.others = any(2) ? UINT64_C(1) << (any(8) * 9) : 0;
    query.length = 90.25;

    for (i = 0; i < query.n; i++) {
        terms[i] = 1 + any(TERMS + 20);
        weights[i] = 0.01 + any(1000) / 77.0;
        bits[i] = UINT64_C(1) << (i * 9);
    }

    for (i = 0; i < ACLS; i++) {
        if (any(2)) {
            acls[query.nacls++] = 7 + (int32_t) i;
        }
    }

    query.acls = acls;
    query.all_documents = any(3) > 0;

    for (i = 0; i < 40 && !query.all_documents; i++) {
        document_of(10 * i * (n / 400), documents[i]);
        query.ndocuments++;
    }

    query.documents = (const uint8_t (*)[TF_MEM_UUID]) documents;

    assert_int_equal(tf_mem_top_init(&a, 1 + any(30)), 0);
    assert_int_equal(tf_mem_top_init(&b, a.k), 0);

    assert_int_equal(tf_mem_index_rank(index, &query, &a), 0);
    tf_mem_top_sort(&a);
    plain_rank(all, n, &query, &b);

    assert_int_equal(a.n, b.n);

    for (i = 0; i < a.n; i++) {
        assert_int_equal(a.hits[i].chunk, b.hits[i].chunk);
        assert_true(a.hits[i].score == b.hits[i].score);
        assert_true(a.hits[i].own == b.hits[i].own);
        assert_true(a.hits[i].terms == b.hits[i].terms);
    }

    tf_mem_top_free(&a);
    tf_mem_top_free(&b);
}


/* What comes and goes in any order is found as if it had been looked for. */

static void
test_same_as_plain(void **state)
{
    size_t           i, n, gone;
    plain_t         *all;
    unsigned         step;
    tf_mem_index_t   index;

    (void) state;

    memset(&index, 0, sizeof(index));
    all = calloc(CHUNKS, sizeof(plain_t));
    assert_non_null(all);
    ask(&index, all, 0);

    for (n = 0, step = 0; n < CHUNKS; step++) {
        if (step % 5 != 4) {
            for (i = n + 1 + any(300); n < i && n < CHUNKS; n++) {
                plain_make(&all[n]);
                put(&index, &all[n], n);
            }

        } else {
            for (gone = any(900); gone > 0; gone--) {
                i = any((uint32_t) n);
                all[i].there = 0;
                assert_int_equal(tf_mem_index_remove(&index, (int64_t) i + 1),
                                 0);
            }
        }

        ask(&index, all, n);
        ask(&index, all, n);
    }

    for (i = 0; i < 200; i++) {
        ask(&index, all, n);
    }

    /* seen twice; unknown */

    put(&index, &all[5], 5);
    assert_int_equal(tf_mem_index_remove(&index, 5000000), 0);
    ask(&index, all, n);

    for (i = 0; i < n; i++) {
        all[i].there = 0;
        assert_int_equal(tf_mem_index_remove(&index, (int64_t) i + 1), 0);
        if (i % 500 == 0) {
            ask(&index, all, n);
        }
    }

    ask(&index, all, n);
    assert_in_range(index.nslots, 0, 1024);

    tf_mem_index_free(&index);
    free(all);
}


/* Numbers of every size come back as they were. */

static void
test_postings(void **state)
{
    size_t            i, n;
    uint32_t          slot, tf, slots[64], tfs[64];
    tf_mem_terms_t    terms;
    tf_mem_reader_t   reader;

    (void) state;

    memset(&terms, 0, sizeof(terms));
    assert_int_equal(tf_mem_terms_read(&terms, 1, &reader), 0);

    for (n = 0; n < 31; n++) {
        slots[n] = n ? slots[n - 1] + (UINT32_C(1) << n) : 0;
        tfs[n] = UINT32_C(1) << (n % 31);
        assert_int_equal(tf_mem_terms_add(&terms, INT64_MAX, slots[n],
                                          tfs[n]), 0);
    }

    assert_int_equal(tf_mem_terms_read(&terms, INT64_MAX, &reader), 1);

    for (i = 0; i < n; i++) {
        assert_int_equal(tf_mem_read(&reader, &slot, &tf), 1);
        assert_int_equal(slot, slots[i]);
        assert_int_equal(tf, tfs[i]);
    }

    assert_int_equal(tf_mem_read(&reader, &slot, &tf), 0);
    tf_mem_terms_free(&terms);
}


/* What goes gives its memory back, to the byte that is counted. */

static void
test_memory(void **state)
{
    size_t           i, full;
    plain_t         *all;
    tf_mem_index_t   index;

    (void) state;

    memset(&index, 0, sizeof(index));
    all = calloc(CHUNKS, sizeof(plain_t));
    assert_non_null(all);

    for (i = 0; i < CHUNKS; i++) {
        plain_make(&all[i]);
        put(&index, &all[i], i);
    }

    full = tf_mem_index_bytes(&index);

    /* two to four bytes a posting and the tables */
    assert_in_range(full, CHUNKS * 32, CHUNKS * 160);

    for (i = 0; i < CHUNKS; i++) {
        assert_int_equal(tf_mem_index_remove(&index, (int64_t) i + 1), 0);
    }

    assert_in_range(tf_mem_index_bytes(&index), 0, full / 4);

    tf_mem_index_free(&index);
    assert_int_equal(index.terms.away, 0);
    free(all);
}


static tf_mem_entry_t *
shelve(tf_mem_shelf_t *shelf, int collection, size_t chunks, int64_t now)
{
    size_t           i;
    plain_t          p;
    tf_mem_entry_t  *entry;

    entry = tf_mem_shelf_begin(shelf, collection);
    assert_non_null(entry);

    for (i = 0; i < chunks; i++) {
        plain_make(&p);
        put(&entry->index, &p, i);
    }

    if (tf_mem_shelf_fit(shelf, entry, now) != 0) {
        tf_mem_shelf_put(shelf, entry);
        return NULL;
    }

    tf_mem_shelf_add(shelf, entry);
    tf_mem_shelf_put(shelf, entry);

    return entry;
}


static int
has(tf_mem_shelf_t *shelf, int collection, int64_t now)
{
    tf_mem_entry_t  *entry;

    entry = tf_mem_shelf_get(shelf, collection, now);
    if (entry == NULL) {
        return 0;
    }

    tf_mem_shelf_put(shelf, entry);

    return 1;
}


/*
 * The bound holds: the one that nobody asked for longest goes, never one that
 * is asked for, and what is too big for the rest is refused.
 */

static void
test_shelf(void **state)
{
    size_t           n, bytes, one;
    unsigned long    evicted;
    tf_mem_shelf_t   shelf;
    tf_mem_entry_t  *held;

    (void) state;

    tf_mem_shelf_init(&shelf, 1 << 30);
    assert_non_null(shelve(&shelf, 1, 1000, 0));
    tf_mem_shelf_count(&shelf, &n, &one, &evicted);
    assert_int_equal(n, 1);

    shelf.max = 3 * one + one / 2;
    assert_non_null(shelve(&shelf, 2, 1000, 10));
    assert_non_null(shelve(&shelf, 3, 1000, 20));
    assert_true(has(&shelf, 1, 30));

    /* all were asked for just now */
    assert_null(shelve(&shelf, 4, 1000, 1000));
    assert_null(shelve(&shelf, 4, 9000, 1000));

    /* 2 is the oldest, but in use; 3 goes */
    held = tf_mem_shelf_get(&shelf, 2, 10);
    assert_non_null(held);
    assert_non_null(shelve(&shelf, 4, 1000, TF_MEM_IDLE_MS + 35));
    assert_false(has(&shelf, 3, TF_MEM_IDLE_MS + 35));
    assert_true(has(&shelf, 1, TF_MEM_IDLE_MS + 35));
    assert_true(has(&shelf, 4, TF_MEM_IDLE_MS + 35));
    tf_mem_shelf_count(&shelf, &n, &bytes, &evicted);
    assert_int_equal(n, 3);
    assert_int_equal(evicted, 1);
    assert_in_range(bytes, 2 * one, shelf.max);

    /* one that was dropped lives until it is let go of */
    tf_mem_shelf_drop(&shelf, held);
    assert_false(has(&shelf, 2, TF_MEM_IDLE_MS + 35));
    assert_true(held->index.nslots == 1000);
    tf_mem_shelf_put(&shelf, held);

    /* a newer one takes the place of an older one */
    assert_non_null(shelve(&shelf, 1, 10, TF_MEM_IDLE_MS + 40));
    held = tf_mem_shelf_get(&shelf, 1, TF_MEM_IDLE_MS + 40);
    assert_int_equal(held->index.nslots, 10);
    tf_mem_shelf_put(&shelf, held);

    tf_mem_shelf_count(&shelf, &n, &bytes, &evicted);
    assert_int_equal(n, 2);

    tf_mem_shelf_free(&shelf);
    assert_int_equal(shelf.bytes, 0);
}


/* Threads that search, change, drop and shelve, for the sanitizers. */

typedef struct {
    tf_mem_shelf_t  *shelf;
    int              changes;
    uint64_t         found;
} worker_t;

static void *
work(void *data)
{
    int               i;
    double            weight = 1;
    int32_t           acls[1] = { 7 };
    int64_t           term = 1;
    uint64_t          bit = 1;
    worker_t         *w = data;
    tf_mem_top_t      top;
    tf_mem_chunk_t    chunk;
    tf_mem_query_t    query;
    tf_mem_entry_t   *entry;
    const int32_t     tf = 3;

    memset(&query, 0, sizeof(query));
    query.terms = &term;
    query.weights = &weight;
    query.bits = &bit;
    query.n = 1;
    query.length = 10;
    query.acls = acls;
    query.nacls = 1;
    query.all_documents = 1;

    memset(&chunk, 0, sizeof(chunk));
    chunk.acl = 7;
    chunk.len = 10;
    chunk.terms = &term;
    chunk.tfs = &tf;
    chunk.n = 1;

    for (i = 0; i < 2000; i++) {
        entry = tf_mem_shelf_get(w->shelf, 1, i);

        if (entry == NULL) {
            entry = tf_mem_shelf_begin(w->shelf, 1);
            tf_mem_shelf_add(w->shelf, entry);
        }

        if (w->changes) {
            (void) pthread_rwlock_wrlock(&entry->lock);
            chunk.chunk = ++entry->version;
            (void) tf_mem_index_add(&entry->index, &chunk);
            if (i % 3) {
                (void) tf_mem_index_remove(&entry->index, chunk.chunk - 5);
            }
            (void) tf_mem_shelf_fit(w->shelf, entry, i);
            (void) pthread_rwlock_unlock(&entry->lock);

            if (i % 700 == 0) {
                tf_mem_shelf_drop(w->shelf, entry);
            }

        } else if (tf_mem_top_init(&top, 5) == 0) {
            (void) pthread_rwlock_rdlock(&entry->lock);
            (void) tf_mem_index_rank(&entry->index, &query, &top);
            (void) pthread_rwlock_unlock(&entry->lock);
            w->found += top.n;
            tf_mem_top_free(&top);
        }

        tf_mem_shelf_put(w->shelf, entry);
    }

    return NULL;
}


static void
test_threads(void **state)
{
    int             i;
    uint64_t        found;
    worker_t        w[4];
    pthread_t       threads[4];
    tf_mem_shelf_t  shelf;

    (void) state;

    tf_mem_shelf_init(&shelf, 1 << 20);
    memset(w, 0, sizeof(w));
    found = 0;

    for (i = 0; i < 4; i++) {
        w[i].shelf = &shelf;
        w[i].changes = i < 2;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    }

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        found += w[i].found;
    }

    assert_true(found > 0);
    tf_mem_shelf_free(&shelf);
    assert_int_equal(shelf.bytes, 0);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postings),
        cmocka_unit_test(test_same_as_plain),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_shelf),
        cmocka_unit_test(test_threads)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
