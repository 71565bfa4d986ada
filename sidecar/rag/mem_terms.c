#include "rag/mem_terms.h"

#include <stdlib.h>
#include <string.h>

#include "rag/mem_map.h"


#define TF_MEM_TERMS_MIN  256
#define TF_MEM_POSTING    10        /* bytes, at most */


static tf_mem_list_t *
tf_mem_terms_place(tf_mem_list_t *lists, size_t size, int64_t term)
{
    size_t  i;

    for (i = tf_mem_hash(term) & (size - 1); /* void */;
         i = (i + 1) & (size - 1))
    {
        if (lists[i].term == term || lists[i].term == 0) {
            return &lists[i];
        }
    }
}


/* Another table of this size, with those lists that have something in them. */

static int
tf_mem_terms_table(tf_mem_terms_t *terms, size_t size)
{
    size_t          i;
    tf_mem_list_t  *lists;

    lists = calloc(size, sizeof(tf_mem_list_t));
    if (lists == NULL) {
        return -1;
    }

    terms->used = 0;

    for (i = 0; i < terms->size; i++) {
        if (terms->lists[i].len) {
            *tf_mem_terms_place(lists, size, terms->lists[i].term)
                = terms->lists[i];
            terms->used++;
        }
    }

    free(terms->lists);
    terms->lists = lists;
    terms->size = size;

    return 0;
}


static size_t
tf_mem_put(uint8_t *p, uint64_t n)
{
    size_t  i;

    for (i = 0; n > 0x7f; n >>= 7) {
        p[i++] = (uint8_t) (n | 0x80);
    }

    p[i++] = (uint8_t) n;

    return i;
}


static size_t
tf_mem_posting(uint8_t *p, uint32_t distance, uint32_t tf)
{
    size_t  n;

    n = tf_mem_put(p, ((uint64_t) distance << 1) | (tf > 1));

    return tf > 1 ? n + tf_mem_put(p + n, tf - 2) : n;
}


static uint8_t *
tf_mem_list_data(tf_mem_list_t *list)
{
    return list->len > TF_MEM_HERE ? list->at.away.data : list->at.here;
}


/* Room for n bytes at the end of a list. */

static uint8_t *
tf_mem_list_room(tf_mem_terms_t *terms, tf_mem_list_t *list, size_t n)
{
    size_t    size;
    uint8_t  *data;

    if (list->len + n <= TF_MEM_HERE) {
        return list->at.here + list->len;
    }

    if (list->len > TF_MEM_HERE && list->len + n <= list->at.away.size) {
        return list->at.away.data + list->len;
    }

    size = (list->len + n) + (list->len + n) / 4 + TF_MEM_HERE / 2;

    if (size > UINT32_MAX) {
        return NULL;
    }

    if (list->len > TF_MEM_HERE) {
        data = realloc(list->at.away.data, size);
        if (data == NULL) {
            return NULL;
        }

        terms->away -= list->at.away.size;

    } else {
        data = malloc(size);
        if (data == NULL) {
            return NULL;
        }

        memcpy(data, list->at.here, list->len);
    }

    list->at.away.data = data;
    list->at.away.size = (uint32_t) size;
    terms->away += size;

    return data + list->len;
}


int
tf_mem_terms_add(tf_mem_terms_t *terms, int64_t term, uint32_t slot,
    uint32_t tf)
{
    size_t          n;
    uint8_t        *p, posting[TF_MEM_POSTING];
    tf_mem_list_t  *list;

    if (terms->used * 4 >= terms->size * 3
        && tf_mem_terms_table(terms, terms->size ? terms->size * 2
                                                 : TF_MEM_TERMS_MIN) != 0)
    {
        return -1;
    }

    list = tf_mem_terms_place(terms->lists, terms->size, term);
    n = tf_mem_posting(posting, slot - list->next, tf);

    p = tf_mem_list_room(terms, list, n);
    if (p == NULL) {
        return -1;
    }

    if (list->term == 0) {
        list->term = term;
        terms->used++;
    }

    memcpy(p, posting, n);
    list->len += (uint32_t) n;
    list->next = slot + 1;

    return 0;
}


static void
tf_mem_list_reader(tf_mem_list_t *list, tf_mem_reader_t *reader)
{
    reader->p = tf_mem_list_data(list);
    reader->end = reader->p + list->len;
    reader->next = 0;
}


int
tf_mem_terms_read(const tf_mem_terms_t *terms, int64_t term,
    tf_mem_reader_t *reader)
{
    tf_mem_list_t  *list;

    if (terms->size == 0) {
        return 0;
    }

    list = tf_mem_terms_place(terms->lists, terms->size, term);

    if (list->term == 0) {
        return 0;
    }

    tf_mem_list_reader(list, reader);

    return 1;
}


/*
 * In its place: slots only come nearer to each other or go, so what is
 * written is never longer than what was read.
 */

static void
tf_mem_list_renumber(tf_mem_terms_t *terms, tf_mem_list_t *list,
    const uint32_t *slots)
{
    size_t            n, size;
    uint8_t          *data, *kept, posting[TF_MEM_POSTING];
    uint32_t          slot, tf, next;
    tf_mem_reader_t   reader;

    data = tf_mem_list_data(list);
    tf_mem_list_reader(list, &reader);
    n = 0;
    next = 0;

    while (tf_mem_read(&reader, &slot, &tf)) {
        if (slots[slot] != TF_MEM_GONE) {
            size = tf_mem_posting(posting, slots[slot] - next, tf);
            memcpy(data + n, posting, size);
            n += size;
            next = slots[slot] + 1;
        }
    }

    if (list->len > TF_MEM_HERE && n <= TF_MEM_HERE) {
        terms->away -= list->at.away.size;
        memcpy(list->at.here, data, n);
        free(data);

    } else if (list->len > TF_MEM_HERE && n < list->at.away.size / 2) {
        kept = realloc(data, n);

        if (kept != NULL) {
            terms->away -= list->at.away.size - n;
            list->at.away.data = kept;
            list->at.away.size = (uint32_t) n;
        }
    }

    list->len = (uint32_t) n;
    list->next = next;
}


void
tf_mem_terms_renumber(tf_mem_terms_t *terms, const uint32_t *slots)
{
    size_t  i, kept, size;

    kept = 0;

    for (i = 0; i < terms->size; i++) {
        if (terms->lists[i].len) {
            tf_mem_list_renumber(terms, &terms->lists[i], slots);
            kept += terms->lists[i].len > 0;
        }
    }

    /* a smaller table if it can be had; terms that nothing has stay else */

    for (size = TF_MEM_TERMS_MIN; kept * 4 >= size * 3; size *= 2) {
        /* void */
    }

    if (terms->size > 0 && (size < terms->size || kept < terms->used)) {
        (void) tf_mem_terms_table(terms, size);
    }
}


void
tf_mem_terms_free(tf_mem_terms_t *terms)
{
    size_t  i;

    for (i = 0; i < terms->size; i++) {
        if (terms->lists[i].len > TF_MEM_HERE) {
            free(terms->lists[i].at.away.data);
        }
    }

    free(terms->lists);
    memset(terms, 0, sizeof(tf_mem_terms_t));
}


size_t
tf_mem_terms_bytes(const tf_mem_terms_t *terms)
{
    return terms->size * sizeof(tf_mem_list_t) + terms->away;
}
