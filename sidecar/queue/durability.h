#ifndef TF_QUEUE_DURABILITY_H
#define TF_QUEUE_DURABILITY_H


#include "base/conf.h"
#include "db/pg.h"
#include "queue/redis.h"


/*
 * Whether the stores keep what the configuration promises.
 *
 * The key "durability" is the promise, each word with all of the one before:
 *
 *   fast        Redis writes an append-only file and throws nothing away
 *   durable     and syncs it before it answers
 *   replicated  and has so many replicas ("replicas")
 *
 * PostgreSQL syncs in all of them.  A finding is what a server really has; it
 * is weak if that is less than the promise.  With "durability_check = strict"
 * a queue on weak stores is not adopted, so nothing is accepted; with "warn"
 * it is only said.  What a server does not tell is unknown, and not weak.
 */

typedef enum {
    TF_DURABILITY_FAST,
    TF_DURABILITY_DURABLE,
    TF_DURABILITY_REPLICATED,
    TF_DURABILITY_NMODES
} tf_durability_mode_t;

typedef enum {
    TF_DURABILITY_KEEPS,
    TF_DURABILITY_UNKNOWN,
    TF_DURABILITY_WEAK
} tf_durability_level_t;

typedef struct {
    tf_durability_level_t   level;
    const char             *what;       /* "Redis appendfsync" */
    char                    found[64];
    const char             *mend;       /* what to set, and why */
} tf_durability_finding_t;

#define TF_DURABILITY_MAX  12

typedef struct {
    tf_durability_finding_t   list[TF_DURABILITY_MAX];
    unsigned                  n;
    unsigned                  weak;
} tf_durability_t;


/* TF_DURABILITY_NMODES for a word that is none. */
tf_durability_mode_t tf_durability_mode(const char *word);

/* Whether weak stores are refused. */
int tf_durability_strict(const tf_conf_t *conf);

/*
 * Add findings; 0, or -1 when the server does not answer (redis->err, pg->err
 * say why).
 */
int tf_durability_redis(tf_durability_t *d, const tf_conf_t *conf,
    tf_redis_t *redis);
int tf_durability_pg(tf_durability_t *d, tf_pg_t *pg);

/* What is weak, and what to set, as one line. */
void tf_durability_say(const tf_durability_t *d, const tf_conf_t *conf,
    char *text, size_t size);

/* A line "name:value" of an answer to INFO; "" when it has none. */
void tf_info_value(const char *info, const char *name, char *value,
    size_t size);


#endif /* TF_QUEUE_DURABILITY_H */
