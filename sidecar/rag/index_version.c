#include <stdio.h>

#include "rag/array.h"
#include "rag/index.h"
#include "rag/search.h"


/*
 * The update holds the collection's row until the transaction ends, so that
 * versions are committed in their order.
 */

tf_pg_status_t
tf_rag_index_version(tf_pg_t *pg, tf_rag_index_t *index, int collection)
{
    char             numbers[4][24];
    size_t           i;
    tf_buf_t         came = TF_BUF_INIT;
    const char      *params[6];
    tf_pg_status_t   rc;

    for (i = 0; i < index->nput; i++) {
        tf_array_int(&came, index->put[i].id);
    }

    tf_array_close(&came);
    tf_array_close(&index->went);

    if (came.failed || index->went.failed) {
        tf_buf_free(&came);
        return tf_rag_no_memory(pg);
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", collection);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld",
                    index->more_chunks);
    (void) snprintf(numbers[2], sizeof(numbers[2]), "%lld", index->more_len);
    (void) snprintf(numbers[3], sizeof(numbers[3]), "%d", TF_RAG_VERSIONS);
    params[0] = numbers[0];
    params[1] = numbers[1];
    params[2] = numbers[2];
    params[3] = came.data;
    params[4] = index->went.data;
    params[5] = numbers[3];

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
        "WITH l AS ("
            "UPDATE trifecta.collection SET chunks = chunks + $2, "
                "total_len = total_len + $3, version = version + 1, "
                "stamp = gen_random_uuid() "
            "WHERE id = $1 RETURNING id, version, stamp"
        "), old AS ("
            "DELETE FROM trifecta.collection_change c USING l "
            "WHERE c.collection = l.id AND c.version <= l.version - $6::int"
        ") INSERT INTO trifecta.collection_change "
            "(collection, version, stamp, came, gone) "
        "SELECT id, version, stamp, $4::bigint[], $5::bigint[] FROM l",
        6, params);

    tf_buf_free(&came);

    return rc;
}
