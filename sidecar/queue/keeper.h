#ifndef TF_QUEUE_KEEPER_H
#define TF_QUEUE_KEEPER_H


#include <stdatomic.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/log.h"
#include "queue/compare.h"
#include "queue/look.h"
#include "queue/pulse.h"
#include "queue/redis_url.h"


/*
 * The keeper of a shard sees to it that Redis and PostgreSQL belong together.
 *
 * Each second it looks at both (look.h).  When they do not, the queue is
 * rebuilt (rebuild.h); until that is done no job is accepted, for nginx looks
 * at the same marks.  When they do, the stores are compared job by job from
 * time to time (reconcile.h).  Weak stores (durability.h) are not adopted.
 *
 * Every sidecar has a keeper for every shard; a session lock in PostgreSQL,
 * one a shard, lets one of them work.  "trifecta migrate" is a keeper that
 * leaves after the adoption.
 */

typedef enum {
    TF_KEEPER_ADOPTED,      /* and so jobs are accepted */
    TF_KEEPER_BUSY,         /* another keeper is at work */
    TF_KEEPER_WAITS,        /* for a store */
    TF_KEEPER_REFUSES       /* until somebody changes something */
} tf_keeper_state_t;

/* Seen by others while the keeper works. */

typedef struct tf_keeper_stats_s {
    tf_compare_counters_t  reconciled;
    atomic_ulong           rebuilds;
    atomic_ulong           rounds;          /* of the reconciler */
    atomic_ulong           mended;          /* keys, by mend.c */
    atomic_int             adopted;
    atomic_int             weak;            /* settings that keep too little */
    atomic_int             library_other;   /* not of this release */
} tf_keeper_stats_t;

typedef struct {
    int                  phase;     /* 0: no round is under way */
    char                 after[TF_ID_TEXT_LEN + 1];
    int64_t              rank;
    tf_compare_scan_t    scan;
    int64_t              due;       /* tf_clock_ms() of the next one */
    int                  at_once;   /* whoever did the last */
    tf_compare_counts_t  before;
} tf_reconcile_t;

/* Keys that are gathered (follow.h). */

typedef struct {
    uint32_t           shards;  /* a bit for each that is still to be read */
    char               from[TF_ID_TEXT_LEN + 1];
    tf_compare_keys_t  keys;
} tf_follow_t;

typedef struct tf_keeper_s  tf_keeper_t;

struct tf_keeper_s {
    const tf_conf_t     *conf;
    unsigned             shard;
    char                 prefix[TF_KEY_PREFIX_MAX];
    tf_redis_t           redis;
    tf_pg_t              pg;
    tf_look_t            look;
    tf_compare_t         compare;
    tf_items_t           items;
    tf_keeper_stats_t   *stats;
    tf_reconcile_t       reconcile;
    tf_follow_t          follow;
    tf_keeper_state_t    state;
    int                  locked;
    int64_t              checked;           /* when durability was, last */
    int64_t              listed;            /* when the library was */
    int64_t              said;              /* when why was logged */
    char                 saying[1280];
    char                 why[1280];         /* unless it is adopted */

    /* if set: whether to leave, where progress goes instead of the log, and
     * who hears of each tick */
    int                (*over)(void *data);
    void               (*say)(void *data, tf_log_level_t level,
                              const char *text);
    void               (*ticked)(tf_keeper_t *k);
    void                *data;
    tf_pulse_t          *pulse;             /* if set: its progress */
};


void tf_keeper_init(tf_keeper_t *k, const tf_conf_t *conf,
    const tf_redis_urls_t *urls, unsigned shard, tf_keeper_stats_t *stats);
void tf_keeper_free(tf_keeper_t *k);

/*
 * One look, and what it asks for; a rebuild may take long.  A change of state
 * is logged, with what to do about it.
 */
tf_keeper_state_t tf_keeper_tick(tf_keeper_t *k);

/*
 * Ticks and steps of the reconciler until it is over; ticked() (if set) hears
 * of the state after each tick.
 */
void tf_keeper_run(tf_keeper_t *k);


/* What it does; for keeper.c, rebuild.c and reconcile.c. */

/* "shard 0: ..." into the log, or to whoever asked. */
void tf_keeper_say(tf_keeper_t *k, tf_log_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* k->why, and -1 */
int tf_keeper_fail(tf_keeper_t *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* 1: it is ours, until unlock or the end of k->pg's connection; 0: it is
 * another's; -1: k->why. */
int tf_keeper_lock(tf_keeper_t *k);
void tf_keeper_unlock(tf_keeper_t *k);

/* A new look at both stores; 0, or -1 with k->why. */
int tf_keeper_look(tf_keeper_t *k);

/*
 * A new mark in both stores, unless the last one is younger (ms): 1 it is, 0
 * it was not due, -1 k->why.
 */
int tf_keeper_mark(tf_keeper_t *k, int64_t younger);

/*
 * The function library is loaded if there is none; one of another text is
 * left to migrate, for another release may be at work.  Redis is told whose
 * it is; a field of P:meta is noted.  0, or -1 with k->why.
 */
int tf_keeper_library(tf_keeper_t *k);
int tf_keeper_install(tf_keeper_t *k);
int tf_keeper_note(tf_keeper_t *k, const char *field, const char *value);

/*
 * Whether an empty shard may be filled here: not where another shard lives
 * that redis_url has elsewhere, for then its order is wrong, and nginx would
 * go on with the server that really has the shard.  1, or 0 and -1 with
 * k->why.
 */
int tf_keeper_order(tf_keeper_t *k);

/* Returns early when it is over. */
void tf_keeper_sleep(tf_keeper_t *k, int ms);

/* A step is done, and the next one begins. */
void tf_keeper_beat(tf_keeper_t *k);

static inline int
tf_keeper_over(tf_keeper_t *k)
{
    return k->over != NULL && k->over(k->data);
}


#endif /* TF_QUEUE_KEEPER_H */
