#ifndef TF_RAG_MEM_MAP_H
#define TF_RAG_MEM_MAP_H


#include <stddef.h>
#include <stdint.h>


/*
 * A map from the store's numbers, which start at 1, to small numbers: open
 * addressing, nothing is ever taken out.  Start from zeroed memory.
 */

typedef struct {
    int64_t   key;          /* 0: free */
    uint32_t  value;
} tf_mem_pair_t;

typedef struct {
    tf_mem_pair_t  *pairs;
    size_t          size;   /* a power of two, or 0 */
    size_t          used;
} tf_mem_map_t;


/* The value, or otherwise. */
uint32_t tf_mem_map_get(const tf_mem_map_t *map, int64_t key,
    uint32_t otherwise);

/* A key that is not there yet; 0, or -1: no memory. */
int tf_mem_map_put(tf_mem_map_t *map, int64_t key, uint32_t value);

void tf_mem_map_free(tf_mem_map_t *map);
size_t tf_mem_map_bytes(const tf_mem_map_t *map);

/* Numbers that count up must not fall into one run of places. */
static inline size_t
tf_mem_hash(int64_t key)
{
    uint64_t  h;

    h = (uint64_t) key * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t) (h ^ (h >> 32));
}


#endif /* TF_RAG_MEM_MAP_H */
