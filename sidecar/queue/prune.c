#include "queue/prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "queue/pool.h"
#include "queue/redis_url.h"


#define TF_PRUNE_STEP_MS   TF_PG_QUERY_MS
#define TF_PRUNE_TELL_MS   250          /* a shard that is away: not more */
#define TF_PRUNE_TRIES     5            /* when a table is in use */

#define TF_PRUNE_BEFORE    "now() - $1::bigint * interval '1 ms'"
#define TF_PRUNE_DEADLOCK  "40P01"

/* Phases: steps are repeated until nothing is left to do in one. */

#define TF_PRUNE_DROP      0
#define TF_PRUNE_ROWS      1
#define TF_PRUNE_TALKS     2            /* conversations, kept answers */
#define TF_PRUNE_EMPTIED   3            /* rows went: what they kept */
#define TF_PRUNE_OVER      4


int
tf_prune_begin(tf_prune_round_t *round, tf_pg_t *pg)
{
    int        got;
    PGresult  *res;

    memset(round, 0, sizeof(tf_prune_round_t));

    if (tf_pg_query(pg, &res, 0, "SELECT pg_try_advisory_lock("
                    "hashtext('trifecta.prune'))", 0, NULL)
        != TF_PG_OK)
    {
        return -1;
    }

    got = PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);

    return got;
}


/* Nothing is left to drop, or not now. */

static tf_prune_rc_t
tf_prune_next(tf_prune_round_t *round)
{
    if (round->phase == TF_PRUNE_DROP) {
        round->phase = TF_PRUNE_ROWS;
        return TF_PRUNE_MORE;
    }

    round->phase = TF_PRUNE_OVER;

    return TF_PRUNE_DONE;
}


static tf_prune_rc_t
tf_prune_failed(tf_prune_round_t *round, const tf_pg_t *pg)
{
    if (pg->conn != NULL && (strcmp(pg->sqlstate, TF_PRUNE_IN_USE) == 0
                             || strcmp(pg->sqlstate, TF_PRUNE_DEADLOCK) == 0))
    {
        round->busy++;
        return TF_PRUNE_BUSY;
    }

    /* one partition that cannot go, such as somebody else's, stops nothing */

    if (pg->conn != NULL && round->phase != TF_PRUNE_ROWS
        && round->phase != TF_PRUNE_TALKS)
    {
        (void) snprintf(round->refused, sizeof(round->refused), "%.255s",
                        pg->err);
        return tf_prune_next(round);
    }

    return TF_PRUNE_FAILED;
}


static tf_prune_rc_t
tf_prune_drop(tf_prune_round_t *round, tf_pg_t *pg, int64_t age)
{
    int          over;
    char         ms[24];
    PGresult    *res;
    const char  *params[1];

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) age);
    params[0] = ms;

    if (tf_pg_query(pg, &res, TF_PRUNE_STEP_MS,
                    "SELECT trifecta.drop_partition(" TF_PRUNE_BEFORE ")",
                    1, params)
        != TF_PG_OK)
    {
        return tf_prune_failed(round, pg);
    }

    round->busy = 0;

    over = PQgetisnull(res, 0, 0);

    /* "": it was about to go, and got an open job just then */

    (void) snprintf(round->name, sizeof(round->name), "%s",
                    PQgetvalue(res, 0, 0));

    if (round->name[0] != '\0') {
        tf_fault(prune, dropped);
        round->partitions++;
    }

    PQclear(res);

    return over ? tf_prune_next(round) : TF_PRUNE_MORE;
}


static tf_prune_rc_t
tf_prune_rows(tf_prune_round_t *round, tf_pg_t *pg, int64_t age)
{
    char           ms[24], max[24];
    PGresult      *res;
    const char    *params[2];
    unsigned long  jobs, rest;

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) age);
    (void) snprintf(max, sizeof(max), "%d", TF_PRUNE_BATCH);
    params[0] = ms;
    params[1] = max;

    if (tf_pg_query(pg, &res, TF_PRUNE_STEP_MS,
                    "SELECT jobs, rest FROM trifecta.prune("
                    TF_PRUNE_BEFORE ", $2::integer)", 2, params)
        != TF_PG_OK)
    {
        return tf_prune_failed(round, pg);
    }

    jobs = strtoul(PQgetvalue(res, 0, 0), NULL, 10);
    rest = strtoul(PQgetvalue(res, 0, 1), NULL, 10);
    PQclear(res);

    if (jobs + rest > 0) {
        tf_fault(prune, rows);
    }

    round->busy = 0;
    round->jobs += jobs;
    round->rest += rest;

    if (jobs == 0 && rest == 0) {
        round->phase = TF_PRUNE_TALKS;
    }

    return TF_PRUNE_MORE;
}


/*
 * What was not used for so long: a conversation's jobs are older than its last
 * use, so they are due as well.  Nobody can use a kept answer that expired.
 */

static tf_prune_rc_t
tf_prune_talks(tf_prune_round_t *round, tf_pg_t *pg, int64_t age)
{
    int          over;
    char         ms[24], max[24];
    PGresult    *res;
    const char  *params[2];

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) age);
    (void) snprintf(max, sizeof(max), "%d", TF_PRUNE_BATCH);
    params[0] = ms;
    params[1] = max;

    if (tf_pg_query(pg, &res, TF_PRUNE_STEP_MS,
                    "WITH t AS (DELETE FROM trifecta.conversation "
                        "WHERE used < " TF_PRUNE_BEFORE
                        " AND (tenant, owner, id) IN (SELECT tenant, owner, "
                        "id FROM trifecta.conversation WHERE used < "
                        TF_PRUNE_BEFORE " LIMIT $2::integer) RETURNING 1), "
                    "c AS (DELETE FROM trifecta.answer_cache "
                        "WHERE expires < now() AND (tenant, owner, key) IN "
                        "(SELECT tenant, owner, key FROM trifecta.answer_cache "
                        "WHERE expires < now() LIMIT $2::integer) RETURNING 1) "
                    "SELECT EXISTS (SELECT FROM t) OR EXISTS (SELECT FROM c)",
                    2, params)
        != TF_PG_OK)
    {
        return tf_prune_failed(round, pg);
    }

    over = PQgetvalue(res, 0, 0)[0] == 'f';
    PQclear(res);

    round->busy = 0;

    if (over) {
        /* then results and steps of days whose last job has gone just now */
        round->phase = TF_PRUNE_EMPTIED;
    }

    return TF_PRUNE_MORE;
}


tf_prune_rc_t
tf_prune_step(tf_prune_round_t *round, tf_pg_t *pg, int64_t age)
{
    round->name[0] = '\0';

    switch (round->phase) {

    case TF_PRUNE_DROP:
    case TF_PRUNE_EMPTIED:
        return tf_prune_drop(round, pg, age);

    case TF_PRUNE_ROWS:
        return tf_prune_rows(round, pg, age);

    case TF_PRUNE_TALKS:
        return tf_prune_talks(round, pg, age);

    default: /* TF_PRUNE_OVER */
        return TF_PRUNE_DONE;
    }
}


int
tf_prune_pause(tf_prune_round_t *round)
{
    if (round->busy < TF_PRUNE_TRIES) {
        return tf_pool_jitter(500 << round->busy);
    }

    /* whoever uses it may do so for hours; the rest need not wait for that */

    round->busy = 0;
    (void) tf_prune_next(round);

    return 0;
}


static int
tf_prune_tell_shard(const tf_conf_t *conf, const tf_redis_urls_t *urls,
    unsigned shard, const char *message, char *err, size_t errlen)
{
    int          rc;
    char         prefix[TF_KEY_PREFIX_MAX], channel[TF_KEY_PREFIX_MAX + 8];
    redisReply  *reply;
    tf_redis_t   redis;

    (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, shard);
    (void) snprintf(channel, sizeof(channel), "%s:inv", prefix);

    tf_redis_init(&redis, conf, urls->url[shard], prefix, 0);
    redis.connect_ms = TF_PRUNE_TELL_MS;
    redis.command_ms = TF_PRUNE_TELL_MS;

    reply = tf_redis_command(&redis, 0, "SPUBLISH", channel, message, NULL);
    rc = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? 0 : -1;

    if (rc != 0) {
        (void) snprintf(err, errlen, "Redis: %s", reply ? reply->str
                                                        : redis.err);
    }

    freeReplyObject(reply);
    tf_redis_close(&redis);

    return rc;
}


int
tf_prune_tell(const tf_conf_t *conf, tf_pg_t *pg, int64_t age, char *err,
    size_t errlen)
{
    int               rc;
    char              ms[24], message[64];
    PGresult         *res;
    unsigned          i;
    const char       *params[1];
    tf_redis_urls_t   urls;

    (void) snprintf(ms, sizeof(ms), "%lld", (long long) age);
    params[0] = ms;

    if (tf_pg_query(pg, &res, TF_PRUNE_STEP_MS,
                    "SELECT trifecta.kept_from(" TF_PRUNE_BEFORE ")", 1,
                    params)
        != TF_PG_OK)
    {
        (void) snprintf(err, errlen, "%s", pg->err);
        return -1;
    }

    (void) snprintf(message, sizeof(message), "<%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    if (tf_redis_urls(&urls, conf->redis_url, err, errlen) != 0) {
        return -1;
    }

    rc = 0;

    for (i = 0; i < urls.n; i++) {
        if (tf_prune_tell_shard(conf, &urls, i, message, err, errlen) != 0) {
            rc = -1;
        }
    }

    tf_redis_urls_free(&urls);

    return rc;
}


const char *
tf_prune_age(int64_t ms, char *text, size_t len)
{
    if (ms % 86400000 == 0) {
        (void) snprintf(text, len, "%lldd", (long long) (ms / 86400000));

    } else if (ms % 3600000 == 0) {
        (void) snprintf(text, len, "%lldh", (long long) (ms / 3600000));

    } else {
        (void) snprintf(text, len, "%llds", (long long) (ms / 1000));
    }

    return text;
}
