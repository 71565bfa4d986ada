#ifndef TF_QUEUE_COMPARE_H
#define TF_QUEUE_COMPARE_H


#include <stdatomic.h>
#include <stdint.h>

#include <trifecta/id.h>
#include <trifecta/job.h>
#include <trifecta/keys.h>

#include "db/pg.h"
#include "queue/job.h"
#include "queue/redis.h"


/*
 * What both stores know of the same jobs, a batch at a time.
 *
 * A batch is filled from one store (tf_compare_open: open rows;
 * tf_compare_live: open jobs of Redis) and shown to the other
 * (tf_compare_redis, tf_compare_rows).  Whoever compares then writes into
 * each item what is to be done with it, and tf_compare_apply() does it.
 * Batches are walked by their last id or by a cursor of Redis, so memory is
 * bounded however many jobs there are.
 *
 * Order matters, as the jobs go on meanwhile.  A row is written before Redis
 * hears of an end, so "ended in Redis, open in PostgreSQL" is sure only if
 * the row was read last.  Nothing that apply does harms a job that has moved
 * on since: each step asks its store once more.
 *
 * Every function returns 0, or -1 when a store is away: then c->err says why
 * and all of it is to be begun again; c->redis and c->pg may have another
 * connection by then.
 */

#define TF_COMPARE_MAX  500         /* items of a batch */

typedef enum {
    TF_ACT_NONE,
    TF_ACT_RESTORE,         /* from its row, into Redis */
    TF_ACT_RERUN,           /* the same, also when it has ended there */
    TF_ACT_RELOG,           /* what Redis knows, into the accept log again */
    TF_ACT_SETTLE,          /* its row has ended: it ends in Redis */
    TF_ACT_FORGET,          /* no store can prove its end */
    TF_ACT_DROP,            /* it is no job, or deleted: out of every set */
    TF_ACT_EXPIRE           /* its row ends: deadline_exceeded */
} tf_act_t;

typedef struct {
    char            id[TF_ID_TEXT_LEN + 1];
    tf_act_t        act;
    int64_t         acc;            /* accepted, ms; of tf_compare_live() */
    int             overdue;        /* of tf_compare_open() */
    tf_job_state_t  redis;          /* TF_JOB_NSTATES: absent */
    int             sound;
    int             deleted;
    tf_job_state_t  row;            /* TF_JOB_NSTATES: none */
    int             erased;         /* the row is a tombstone */
    char            tenant[TF_TENANT_MAX + 1];
} tf_item_t;

typedef struct {
    unsigned   n;
    tf_item_t  list[TF_COMPARE_MAX];
} tf_items_t;


/* What was done, since the start: X(name, what, for people) */

#define TF_COMPARE_COUNTERS(X)                                                \
    X(restored,  "open rows that went back into Redis")                       \
    X(rerun,     "ended jobs whose result was lost and that run again")       \
    X(relogged,  "jobs that Redis told the accept log again")                 \
    X(settled,   "jobs that had ended in PostgreSQL")                         \
    X(forgotten, "ended jobs that no store can prove")                        \
    X(dropped,   "entries that were no job, or a deleted one")                \
    X(expired,   "rows that were open past their deadline")                   \
    X(damaged,   "rows without a request, that cannot run")                   \
    X(idem,      "idempotency keys that went back into Redis")                \
    X(followed,  "idempotency keys that followed their tenant to this shard")

typedef struct {
#define TF_COMPARE_COUNTER_FIELD(name, what)  atomic_ulong  name;
    TF_COMPARE_COUNTERS(TF_COMPARE_COUNTER_FIELD)
#undef TF_COMPARE_COUNTER_FIELD
} tf_compare_counters_t;

/* The same at one moment. */

typedef struct {
#define TF_COMPARE_COUNT_FIELD(name, what)  unsigned long  name;
    TF_COMPARE_COUNTERS(TF_COMPARE_COUNT_FIELD)
#undef TF_COMPARE_COUNT_FIELD
} tf_compare_counts_t;

typedef struct {
    tf_redis_t             *redis;      /* no check, of this thread alone */
    tf_pg_t                *pg;         /* role trifecta_queue */
    const char             *prefix;     /* of the shard */
    unsigned                shard;
    unsigned                nshards;    /* that tenants are shared out to */
    int                     older;      /* Redis went back: settle the running
                                         * ones, too */
    tf_compare_counters_t  *counters;
    char                    err[640];
} tf_compare_t;

/* The lowest id, where a walk begins. */
#define TF_COMPARE_FIRST  "00000000-0000-0000-0000-000000000000"


/* Whether a text is an id, written as ids are. */
int tf_compare_is_id(const char *text);

/* The lowest id that was made at that time or later. */
void tf_compare_id_at(char id[TF_ID_TEXT_LEN + 1], int64_t ms);

/*
 * Open rows of the shard behind an id, accepted before a time (ms; 0: any);
 * overdue are those whose deadline was before the other (0: none is).
 */
int tf_compare_open(tf_compare_t *c, tf_items_t *items, const char *after,
    int64_t before, int64_t deadline);

/*
 * Open jobs of Redis: begins with cursor "0" and is over when it is "0"
 * again.  What is no id is dropped at once.  They come in slices: call with
 * the same reply until it is NULL.
 */
typedef struct {
    char         cursor[24];
    redisReply  *reply;
    size_t       next;
} tf_compare_scan_t;

/* 1: items are filled, 0: there are no more, -1. */
int tf_compare_live(tf_compare_t *c, tf_items_t *items,
    tf_compare_scan_t *scan);

/* The same for every job's hash that Redis holds, also of those that ended. */
int tf_compare_hashes(tf_compare_t *c, tf_items_t *items,
    tf_compare_scan_t *scan);
void tf_compare_scan_free(tf_compare_scan_t *scan);

/* Fills what Redis, or PostgreSQL, has of the items. */
int tf_compare_redis(tf_compare_t *c, tf_items_t *items);
int tf_compare_rows(tf_compare_t *c, tf_items_t *items);

/* Does what each item's act says. */
int tf_compare_apply(tf_compare_t *c, tf_items_t *items);

/*
 * Idempotency keys of rows behind an id, of the last 24 h before now.  The
 * rows are those whose id says the shard "of": of another shard than this one
 * the keys of those tenants that belong here by now.
 */
typedef struct {
    unsigned       of;
    char           after[TF_ID_TEXT_LEN + 1];
    int64_t        now;                 /* ms, Redis' TIME */
    unsigned long  restored;            /* that were not here yet */
} tf_compare_keys_t;

/* The next of them: 1 there may be more, 0 these were the last, -1. */
int tf_compare_idem(tf_compare_t *c, tf_compare_keys_t *keys);

void tf_compare_counts(tf_compare_counts_t *counts,
    tf_compare_counters_t *counters);

/* ", restored 3, settled 1" since then; returns how many in all. */
unsigned long tf_compare_report(const tf_compare_counts_t *since,
    tf_compare_counters_t *counters, char *text, size_t size);

static inline int
tf_item_open(tf_job_state_t state)
{
    return state == TF_JOB_QUEUED || state == TF_JOB_RUNNING;
}


static inline int
tf_item_ended(tf_job_state_t state)
{
    return state != TF_JOB_NSTATES && !tf_item_open(state);
}


/* The two digits of an id that are its shard's (see include/trifecta/id.h) */

#define TF_COMPARE_OF_SHARD                                                   \
    "substr(id::text, 16, 2) = lpad(to_hex($1::integer), 2, '0')"

#define TF_COMPARE_PG_MS  10000     /* of one batch */

/* 0, or -1 with c->err. */
int tf_compare_pg_failed(tf_compare_t *c, tf_pg_status_t rc);

/* A reply is freed; 0 when it is no error, else -1 with c->err. */
int tf_compare_done(tf_compare_t *c, redisReply *reply);


#endif /* TF_QUEUE_COMPARE_H */
