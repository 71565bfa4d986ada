#ifndef TF_QUEUE_LEDGER_H
#define TF_QUEUE_LEDGER_H


#include "queue/pool.h"


/*
 * The accept log's consumer: what was accepted becomes a row, behind the
 * submit.  Every entry stands alone and may come in any order or twice; two
 * sidecars share the work.  An entry is acknowledged after the commit only.
 * What a consumer that died left behind is taken over after a lease.
 *
 * A job that begins soon has its row from that (store.h), and its entry goes
 * with the call that tells Redis so: the ledger sees nothing of it.  For that,
 * entries of new jobs stay where they are for TF_LEDGER_WAIT_MS.  Those of
 * which a client waits for the row, and any that tells of something else, are
 * read at the next look.  While there is nothing to look at, Redis says when
 * something comes.
 */

#define TF_LEDGER_BATCH    500
#define TF_LEDGER_WAIT_MS  200
#define TF_LEDGER_REST_MS  20       /* between two looks */

typedef struct {
    tf_queue_t   *q;
    tf_shard_t   *shard;
    tf_redis_t    redis;
    tf_pg_t       pg;
    char          key[TF_KEY_PREFIX_MAX + 8];
    int           again;        /* our own pending entries first */
    int64_t       stale_at;     /* those of somebody lost */
    int           wait;         /* ms, for new jobs */
    char          from[48];     /* the last entry that was looked at, or "" */
    int           plain;        /* the library cannot say what is due */
    int           said;         /* and that was said */
} tf_ledger_t;


/* ledger_rows.c */

/* A field of an entry, or "". */
const char *tf_ledger_field(const redisReply *entry, const char *name);

/*
 * The jobs of the entries, as the rows and the ops that tf_store_ledger()
 * takes; the caller frees it.  NULL: Redis is away.  With "new"
 * (tf_store_new_init()), new jobs go there, as far as they look well.  Of the
 * *n entries only the first ones, and *n says how many, when these have
 * TF_STORE_BATCH_BYTES together.
 */
char *tf_ledger_rows(tf_ledger_t *l, redisReply *const *entries, unsigned *n,
    unsigned *ops, tf_pg_columns_t *new);

/*
 * Jobs that ended in the queue have deliveries, too.  "now" is the time of the
 * last entry; what fails here is found by the reconciler.
 */
void tf_ledger_born(tf_ledger_t *l, const char *rows, int64_t now);


#endif /* TF_QUEUE_LEDGER_H */
