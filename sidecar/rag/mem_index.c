#include "rag/mem_index.h"

#include <stdlib.h>
#include <string.h>


#define TF_MEM_SLOTS_MIN  64
#define TF_MEM_GONE_MIN   256       /* fewer are not worth the work */
#define TF_MEM_NO_SLOT    UINT32_MAX


static uint32_t
tf_mem_index_acl(tf_mem_index_t *index, int32_t acl)
{
    int32_t   *acls;
    uint32_t   n;

    n = tf_mem_map_get(&index->by_acl, acl, 0);
    if (n != 0) {
        return n;
    }

    n = index->nacls + 1;

    acls = realloc(index->acls, (n + 1) * sizeof(int32_t));
    if (acls == NULL) {
        return 0;
    }

    index->acls = acls;

    if (tf_mem_map_put(&index->by_acl, acl, n) != 0) {
        return 0;
    }

    acls[0] = 0;
    acls[n] = acl;
    index->nacls = n;

    return n;
}


static tf_mem_slot_t *
tf_mem_index_slot(tf_mem_index_t *index)
{
    uint32_t        size;
    tf_mem_slot_t  *slots;

    if (index->nslots == index->size) {
        if (index->size > UINT32_MAX / 4) {
            return NULL;
        }

        size = index->size ? index->size + index->size / 2
                           : TF_MEM_SLOTS_MIN;

        slots = realloc(index->slots, size * sizeof(tf_mem_slot_t));
        if (slots == NULL) {
            return NULL;
        }

        index->slots = slots;
        index->size = size;
    }

    return &index->slots[index->nslots];
}


int
tf_mem_index_add(tf_mem_index_t *index, const tf_mem_chunk_t *chunk)
{
    size_t          i;
    uint32_t        acl;
    tf_mem_slot_t  *slot;

    if (tf_mem_map_get(&index->by_chunk, chunk->chunk, TF_MEM_NO_SLOT)
        != TF_MEM_NO_SLOT)
    {
        return 0;
    }

    acl = tf_mem_index_acl(index, chunk->acl);
    slot = tf_mem_index_slot(index);

    if (acl == 0 || slot == NULL
        || tf_mem_map_put(&index->by_chunk, chunk->chunk, index->nslots) != 0)
    {
        return -1;
    }

    slot->chunk = chunk->chunk;
    slot->acl = acl;
    slot->len = chunk->len;
    memcpy(slot->document, chunk->document, TF_MEM_UUID);

    for (i = 0; i < chunk->n; i++) {
        if (tf_mem_terms_add(&index->terms, chunk->terms[i], index->nslots,
                             (uint32_t) chunk->tfs[i]) != 0)
        {
            return -1;
        }
    }

    index->nslots++;

    return 0;
}


/* Takes the slots out that are of no use. */

static int
tf_mem_index_compact(tf_mem_index_t *index)
{
    int             rc;
    uint32_t        i, n, *slots;
    tf_mem_slot_t  *less;

    slots = malloc((index->nslots + 1) * sizeof(uint32_t));
    if (slots == NULL) {
        return -1;
    }

    for (i = 0, n = 0; i < index->nslots; i++) {
        slots[i] = index->slots[i].acl ? n : TF_MEM_GONE;

        if (slots[i] == n) {
            index->slots[n++] = index->slots[i];
        }
    }

    tf_mem_terms_renumber(&index->terms, slots);
    free(slots);

    index->nslots = n;
    index->ngone = 0;

    less = realloc(index->slots, (n + 1) * sizeof(tf_mem_slot_t));
    if (less != NULL) {
        index->slots = less;
        index->size = n + 1;
    }

    tf_mem_map_free(&index->by_chunk);

    for (i = 0, rc = 0; i < n && rc == 0; i++) {
        rc = tf_mem_map_put(&index->by_chunk, index->slots[i].chunk, i);
    }

    return rc;
}


int
tf_mem_index_remove(tf_mem_index_t *index, int64_t chunk)
{
    uint32_t  slot;

    slot = tf_mem_map_get(&index->by_chunk, chunk, TF_MEM_NO_SLOT);

    if (slot == TF_MEM_NO_SLOT || index->slots[slot].acl == 0) {
        return 0;
    }

    index->slots[slot].acl = 0;
    index->ngone++;

    if (index->ngone >= TF_MEM_GONE_MIN && index->ngone > index->nslots / 4) {
        return tf_mem_index_compact(index);
    }

    return 0;
}


void
tf_mem_index_free(tf_mem_index_t *index)
{
    tf_mem_terms_free(&index->terms);
    tf_mem_map_free(&index->by_chunk);
    tf_mem_map_free(&index->by_acl);
    free(index->acls);
    free(index->slots);
    memset(index, 0, sizeof(tf_mem_index_t));
}


size_t
tf_mem_index_bytes(const tf_mem_index_t *index)
{
    return tf_mem_terms_bytes(&index->terms)
           + tf_mem_map_bytes(&index->by_chunk)
           + tf_mem_map_bytes(&index->by_acl)
           + (index->nacls + 1) * sizeof(int32_t)
           + index->size * sizeof(tf_mem_slot_t);
}
