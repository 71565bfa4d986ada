#ifndef TF_QUEUE_LOOK_H
#define TF_QUEUE_LOOK_H


#include <stdint.h>

#include "db/pg.h"
#include "queue/redis.h"


/*
 * Whether a shard's Redis and PostgreSQL belong together.
 *
 * P:meta says what Redis was when it was last found whole:
 *
 *   install  the installation that it belongs to (trifecta.install)
 *   server   the server: "<run id>:<replication id>", which is another one
 *            after every restart and failover
 *   store    the PostgreSQL (trifecta.store_identity())
 *   mark     "<number> <ms>": the newest number of trifecta.shard that Redis
 *            has heard of, and when by Redis' clock.  The number grows first
 *            in PostgreSQL, so a smaller one there means that PostgreSQL went
 *            back; and a Redis with a mark holds everything of before it, for
 *            what it loses is its end.
 *   shards   "<length of redis_url> <ms> <ms>": follow.h
 *   wal      how far PostgreSQL's log had come: the same between two marks
 *
 * Redis is read first: then neither number can be smaller in PostgreSQL
 * because of the moment between the two.
 */

#define TF_LOOK_NAME  160

typedef struct {
    /* Redis */
    int64_t   epoch;                    /* 0: none */
    int64_t   rebuild;                  /* ms, since when; 0: it is not */
    int64_t   mark;
    int64_t   marked;
    int64_t   wal;
    int64_t   shards;                   /* of the list; 0: was not noted */
    int64_t   shards_since;             /* ms */
    int64_t   shards_last;
    int64_t   now;                      /* ms, Redis' TIME */
    int       library;                  /* the functions are there */
    char      schema[16];
    char      install[64];
    char      server[TF_LOOK_NAME];
    char      store[TF_LOOK_NAME];
    char      identity[TF_LOOK_NAME];   /* of the server that answered */

    /* PostgreSQL */
    int64_t   pg_epoch;
    int64_t   pg_mark;
    int64_t   pg_wal;
    char      pg_install[64];
    char      pg_store[TF_LOOK_NAME];
} tf_look_t;

typedef enum {
    TF_LOOK_WHOLE,          /* they belong together */
    TF_LOOK_REBUILD,        /* they are of one installation */
    TF_LOOK_FOREIGN,        /* Redis belongs to another installation */
    TF_LOOK_SCHEMA          /* or to another release */
} tf_look_verdict_t;


/* 0, or -1 with redis->err or pg->err. */
int tf_look_redis(tf_look_t *look, tf_redis_t *redis, const char *prefix);
int tf_look_pg(tf_look_t *look, tf_pg_t *pg, unsigned shard);

/* why says it for people. */
tf_look_verdict_t tf_look_verdict(const tf_look_t *look, const char **why);

/* Whether Redis is what it was, as far as that can be said without the other
 * store. */
int tf_look_adopted(const tf_look_t *look);

/* Whether PostgreSQL is another one than Redis has known, or went back. */
int tf_look_store_changed(const tf_look_t *look);


#endif /* TF_QUEUE_LOOK_H */
