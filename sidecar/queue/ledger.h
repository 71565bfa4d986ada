#ifndef TF_QUEUE_LEDGER_H
#define TF_QUEUE_LEDGER_H


#include "queue/pool.h"


/*
 * The accept log's consumer: what was accepted becomes a row, behind the
 * submit.  Every entry stands alone and may come in any order or twice; two
 * sidecars share the work.  An entry is acknowledged after the commit only.
 * What a consumer that died left behind is taken over after a lease.
 *
 * A job that begins soon has its row from that (store.h), and the ledger has
 * nothing to write.  So entries of new jobs wait a little, until
 * TF_LEDGER_WAIT_MS after the first of them was read, or until there are
 * TF_LEDGER_BATCH of them; then those that have a row meanwhile are told from
 * those that have none.  All that wait go at once when there is one among them
 * whose client waits for its row, or any that tells of something else.
 */

#define TF_LEDGER_BATCH    500
#define TF_LEDGER_WAIT_MS  200
#define TF_LEDGER_REST_MS  2        /* between two looks while some wait */

typedef struct {
    const redisReply  *entry;
    redisReply        *brief;       /* of a new job: see tf_ledger_brief() */
    int                known;       /* its row is there, and says the same */
} tf_ledger_entry_t;

typedef struct {
    tf_queue_t         *q;
    tf_shard_t         *shard;
    tf_redis_t          redis;
    tf_pg_t             pg;
    char                key[TF_KEY_PREFIX_MAX + 8];
    int                 again;      /* our own pending entries first */
    int64_t             stale_at;

    tf_ledger_entry_t   entries[TF_LEDGER_BATCH];   /* that wait */
    unsigned            n;
    redisReply         *roots[TF_LEDGER_BATCH];     /* whose parts they are */
    unsigned            nroots;
    int64_t             due;        /* when they are stored, if there are any */
} tf_ledger_t;


/* ledger_rows.c */

/* A field of an entry, or "". */
const char *tf_ledger_field(const redisReply *entry, const char *name);

/*
 * What is to be known of the new jobs among n entries before it is decided
 * when they are stored.  0; -1: Redis is away; 1: somebody waits for one.
 */
int tf_ledger_brief(tf_ledger_t *l, tf_ledger_entry_t *entries, unsigned n);

/*
 * The jobs of the entries that are not known, as the rows and the ops that
 * tf_store_ledger() takes; the caller frees it.  NULL: Redis is away.  With
 * "new" (tf_store_new_init()), new jobs go there, as far as they look well.
 * Of the *n entries only the first ones, and *n says how many, when these have
 * TF_STORE_BATCH_BYTES together.
 */
char *tf_ledger_rows(tf_ledger_t *l, const tf_ledger_entry_t *entries,
    unsigned *n, unsigned *ops, tf_pg_columns_t *new);

/*
 * Jobs that ended in the queue have deliveries, too.  "now" is the time of the
 * last entry; what fails here is found by the reconciler.
 */
void tf_ledger_born(tf_ledger_t *l, const char *rows, int64_t now);


#endif /* TF_QUEUE_LEDGER_H */
