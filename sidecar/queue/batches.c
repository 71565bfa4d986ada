#include "queue/batches.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


#define TF_BATCHES_SLICE_MS  400        /* a sweep: then the keeper goes on */
#define TF_BATCHES_AGAIN_MS  60000      /* the same said again */
#define TF_BATCHES_LOCK      "hashtext('trifecta.batches')"

/* The session of the lock: a holder that stands still loses it. */

#define TF_BATCHES_IDLE                                                       \
    "SELECT set_config(name, '15s', false) FROM pg_settings WHERE name IN "   \
    "('idle_session_timeout', 'idle_in_transaction_session_timeout')"

#define TF_BATCHES_OPEN                                                       \
    "state IN ('validating', 'in_progress', 'finalizing', 'cancelling')"

/* What every tick asks: two indexes that are empty as a rule. */

static const char  tf_batches_look_sql[] =
    "SELECT state, count(*) FROM trifecta.batch WHERE " TF_BATCHES_OPEN
    " GROUP BY state UNION ALL SELECT 'gone', count(*) FROM ("
    "SELECT FROM trifecta.file_gone WHERE gone <= now() LIMIT 1) AS g";

static const char  tf_batches_page_sql[] =
    "SELECT id FROM trifecta.batch WHERE " TF_BATCHES_OPEN
    " AND id > $1::uuid ORDER BY id LIMIT $2::integer";

/*
 * Whose time is over; and those that nginx left in the middle.  Nothing of
 * these was run.
 */

static const char  tf_batches_mark_sql[] =
    "WITH late AS (UPDATE trifecta.batch SET expiring = true "
        "WHERE id = ANY ($1::uuid[]) AND state = 'in_progress' "
        "AND NOT expiring AND expires <= now() AND done + failed < total), "
    "lost AS (UPDATE trifecta.batch SET state = 'failed', ended = now(), "
        "errors = '{\"object\":\"list\",\"data\":[{\"code\":"
        "\"validation_lost\",\"message\":\"The file was not read to its end, "
        "because a server was stopped. Create the batch again.\","
        "\"param\":null,\"line\":null}]}' "
        "WHERE id = ANY ($1::uuid[]) AND state = 'validating' "
        "AND created < now() - interval '15 minutes') "

    /* cancelled while it was read: what is there is all of it; its last piece
     * may still have been on its way */

    "UPDATE trifecta.batch AS b SET begun = now(), total = (SELECT count(*) "
        "FROM trifecta.batch_line AS l WHERE l.batch = b.id) "
        "WHERE id = ANY ($1::uuid[]) AND state = 'cancelling' "
        "AND begun IS NULL AND cancelling < now() - interval '3 seconds'";


int
tf_batches_init(tf_batches_t *b, tf_queue_t *q)
{
    unsigned  i;

    memset(b, 0, sizeof(tf_batches_t));

    b->q = q;
    b->conf = q->conf;
    b->stats = &q->batches;
    b->prune_at = tf_clock_ms() + tf_pool_jitter(5000);
    tf_pg_init(&b->pg, b->conf, TF_PG_QUEUE);

    b->redis = calloc(q->nshards, sizeof(tf_redis_t));
    if (b->redis == NULL) {
        return -1;
    }

    for (i = 0; i < q->nshards; i++) {
        tf_pool_redis(&q->shards[i], &b->redis[i]);
    }

    return 0;
}


void
tf_batches_free(tf_batches_t *b)
{
    unsigned  i;

    for (i = 0; b->redis != NULL && i < b->q->nshards; i++) {
        tf_redis_close(&b->redis[i]);
    }

    tf_pg_close(&b->pg);
    tf_buf_free(&b->page);
    free(b->redis);
}


void
tf_batches_say(tf_batches_t *b, const char *fmt, ...)
{
    char     text[1024];
    va_list  ap;

    if (b->said != 0 && tf_clock_ms() < b->said + TF_BATCHES_AGAIN_MS) {
        return;
    }

    b->said = tf_clock_ms();

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    tf_log(TF_LOG_WARN, "batches wait: %s", text);
}


int
tf_batches_query(tf_batches_t *b, PGresult **res, const char *sql,
    int nparams, const char *const *params)
{
    tf_pg_status_t  rc;

    if (b->pg.conn == NULL && b->held) {
        /* the connection went, and the lock with it: another one sweeps */
        return -1;
    }

    rc = TF_PG_OK;

    if (b->pg.conn == NULL) {
        rc = tf_pg_query(&b->pg, NULL, TF_BATCHES_PG_MS, TF_BATCHES_IDLE, 0,
                         NULL);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(&b->pg, res, TF_BATCHES_PG_MS, sql, nparams, params);
    }

    if (rc != TF_PG_OK) {
        tf_batches_say(b, "PostgreSQL: %s", b->pg.err);

        /* the lock, and what a transaction had begun, goes with it */

        tf_pg_close(&b->pg);
        return -1;
    }

    return 0;
}


/* What there is: 1 open batches, 2 deleted files, -1. */

static int
tf_batches_look(tf_batches_t *b)
{
    int          i, found;
    PGresult    *res;
    const char  *state;

    struct {
#define TF_BATCHES_FOUND(name)  unsigned long  name;
        TF_BATCHES_STATES(TF_BATCHES_FOUND)
#undef TF_BATCHES_FOUND
    } open;

    if (tf_batches_query(b, &res, tf_batches_look_sql, 0, NULL) != 0) {
        return -1;
    }

    found = 0;
    memset(&open, 0, sizeof(open));

    for (i = 0; i < PQntuples(res); i++) {
        state = PQgetvalue(res, i, 0);

        if (strcmp(state, "gone") == 0) {
            found |= strcmp(PQgetvalue(res, i, 1), "0") ? 2 : 0;
            continue;
        }

        found |= 1;

#define TF_BATCHES_NOTE(name)                                                 \
        if (strcmp(state, #name) == 0) {                                      \
            open.name = strtoul(PQgetvalue(res, i, 1), NULL, 10);             \
        }
        TF_BATCHES_STATES(TF_BATCHES_NOTE)
#undef TF_BATCHES_NOTE
    }

    PQclear(res);

    /* a reader meanwhile finds the last look's, or this one's */

#define TF_BATCHES_STORE(name)  atomic_store(&b->stats->name, open.name);
    TF_BATCHES_STATES(TF_BATCHES_STORE)
#undef TF_BATCHES_STORE

    return found;
}


/* 1: it is ours until unlock, 0: another one sweeps, -1. */

static int
tf_batches_lock(tf_batches_t *b)
{
    int        got;
    PGresult  *res;

    if (tf_batches_query(b, &res, "SELECT pg_try_advisory_lock("
                         TF_BATCHES_LOCK ")", 0, NULL)
        != 0)
    {
        return -1;
    }

    got = PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);
    b->held = got;

    return got;
}


static void
tf_batches_unlock(tf_batches_t *b)
{
    if (b->pg.conn != NULL) {
        (void) tf_batches_query(b, NULL, "SELECT pg_advisory_unlock("
                                TF_BATCHES_LOCK ")", 0, NULL);
    }

    b->held = 0;
}


/* The next open batches: how many; 0: these were all, -1. */

static int
tf_batches_next(tf_batches_t *b)
{
    int          i, n;
    char         max[12];
    PGresult    *res;
    const char  *params[2];

    (void) snprintf(max, sizeof(max), "%d", TF_BATCHES_PAGE);
    params[0] = b->after[0] ? b->after : TF_COMPARE_FIRST;
    params[1] = max;

    if (tf_batches_query(b, &res, tf_batches_page_sql, 2, params) != 0) {
        return -1;
    }

    n = PQntuples(res);
    tf_buf_reset(&b->page);

    for (i = 0; i < n; i++) {
        tf_buf_printf(&b->page, "%s%s", i ? "," : "{", PQgetvalue(res, i, 0));
    }

    tf_buf_puts(&b->page, "}");
    b->after[0] = '\0';

    if (n == TF_BATCHES_PAGE) {
        (void) snprintf(b->after, sizeof(b->after), "%s",
                        PQgetvalue(res, n - 1, 0));
    }

    PQclear(res);

    return b->page.failed ? -1 : n;
}


/* All steps for the batches of a page, while there is something to do. */

static int
tf_batches_page(tf_batches_t *b, int64_t until)
{
    int          ended, made;
    const char  *params[1];

    params[0] = b->page.data;

    if (tf_batches_query(b, NULL, tf_batches_mark_sql, 1, params) != 0) {
        return -1;
    }

    do {
        ended = tf_batches_collect(b);
        if (ended == -1) {
            return -1;
        }

        if (ended > 0) {
            tf_fault(batch, noted);
        }

        made = tf_batches_make(b);
        if (made == -1) {
            return -1;
        }

    } while (ended + made >= TF_BATCHES_LINES && tf_clock_ms() < until
             && !tf_pool_over(b->q));

    if (tf_batches_cancel(b, until) == -1 || tf_batches_close(b) == -1) {
        return -1;
    }

    return 0;
}


static void
tf_batches_sweep(tf_batches_t *b)
{
    int64_t  until;

    until = tf_clock_ms() + TF_BATCHES_SLICE_MS;

    do {
        if (tf_batches_next(b) <= 0 || tf_batches_page(b, until) != 0) {
            return;
        }

    } while (b->after[0] && tf_clock_ms() < until && !tf_pool_over(b->q));
}


void
tf_batches_tick(tf_batches_t *b)
{
    int                found, prunes;
    tf_queue_status_t  status;

    tf_queue_status(b->q, &status);

    if (!status.store_up || tf_pool_over(b->q)) {
        tf_pg_close(&b->pg);
        return;
    }

    found = tf_batches_look(b);
    prunes = tf_clock_ms() >= b->prune_at;

    if (found == -1 || (found == 0 && !prunes) || tf_batches_lock(b) != 1) {
        return;
    }

    if (found & 1) {
        tf_batches_sweep(b);
    }

    if ((found & 2) && b->pg.conn != NULL) {
        tf_batches_gone(b);
    }

    if (prunes && b->pg.conn != NULL) {
        tf_batches_prune(b);
    }

    tf_batches_unlock(b);
}
