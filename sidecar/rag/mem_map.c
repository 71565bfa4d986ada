#include "rag/mem_map.h"

#include <stdlib.h>


#define TF_MEM_MAP_MIN  64


static tf_mem_pair_t *
tf_mem_map_place(tf_mem_pair_t *pairs, size_t size, int64_t key)
{
    size_t  i;

    for (i = tf_mem_hash(key) & (size - 1); /* void */; i = (i + 1) & (size - 1))
    {
        if (pairs[i].key == key || pairs[i].key == 0) {
            return &pairs[i];
        }
    }
}


uint32_t
tf_mem_map_get(const tf_mem_map_t *map, int64_t key, uint32_t otherwise)
{
    tf_mem_pair_t  *pair;

    if (map->size == 0) {
        return otherwise;
    }

    pair = tf_mem_map_place(map->pairs, map->size, key);

    return pair->key ? pair->value : otherwise;
}


int
tf_mem_map_put(tf_mem_map_t *map, int64_t key, uint32_t value)
{
    size_t          i, size;
    tf_mem_pair_t  *pairs, *pair;

    if (map->used * 4 >= map->size * 3) {
        size = map->size ? map->size * 2 : TF_MEM_MAP_MIN;

        pairs = calloc(size, sizeof(tf_mem_pair_t));
        if (pairs == NULL) {
            return -1;
        }

        for (i = 0; i < map->size; i++) {
            if (map->pairs[i].key) {
                pair = tf_mem_map_place(pairs, size, map->pairs[i].key);
                *pair = map->pairs[i];
            }
        }

        free(map->pairs);
        map->pairs = pairs;
        map->size = size;
    }

    pair = tf_mem_map_place(map->pairs, map->size, key);
    pair->key = key;
    pair->value = value;
    map->used++;

    return 0;
}


void
tf_mem_map_free(tf_mem_map_t *map)
{
    free(map->pairs);
    map->pairs = NULL;
    map->size = 0;
    map->used = 0;
}


size_t
tf_mem_map_bytes(const tf_mem_map_t *map)
{
    return map->size * sizeof(tf_mem_pair_t);
}
