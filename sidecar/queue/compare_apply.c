#include "queue/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"


#define TF_APPLY_PG_MS  10000
#define TF_APPLY_ROWS   64          /* whole rows in memory at a time */

/*
 * A whole row, as "restore" takes it: a column a field.  The names of the
 * columns are those of the fields; NULL is left out.
 */

static const char  tf_apply_whole_sql[] =
    "SELECT id, tenant, owner, groups, scopes, kind, model, prio, "
    "request AS payload, coalesce(request_id, '') AS request_id, "
    "coalesce(fingerprint, '') AS fp, "
    "(extract(epoch FROM accepted) * 1000)::bigint AS acc, "
    "(extract(epoch FROM deadline) * 1000)::bigint AS dl, lease, "
    "idem_key AS idem, retry_of, trace, "
    "(extract(epoch FROM run_at) * 1000)::bigint AS run_at "
    "FROM trifecta.job WHERE id = ANY ($1::uuid[]) "
    "AND state IN ('queued', 'running')";

#define TF_APPLY_PAYLOAD  8         /* its column */

#define TF_APPLY_END_SQL(error)                                               \
    "UPDATE trifecta.job SET state = 'failed', finished = now(), "            \
    "error = '" error "' WHERE id = ANY ($1::uuid[]) "                        \
    "AND state IN ('queued', 'running') RETURNING id"

static const char  tf_apply_expire_sql[] = TF_APPLY_END_SQL(
    "{\"code\":\"deadline_exceeded\",\"message\":\"The job did not end "
    "before its deadline.\"}");

static const char  tf_apply_damaged_sql[] = TF_APPLY_END_SQL(
    "{\"code\":\"queue_entry_damaged\",\"message\":\"What the stores held of "
    "the job was damaged.\"}");


static int
tf_apply_query(tf_compare_t *c, PGresult **res, const char *sql,
    const tf_buf_t *ids)
{
    const char  *params[1];

    if (ids->failed) {
        (void) snprintf(c->err, sizeof(c->err), "out of memory");
        return -1;
    }

    params[0] = ids->data;

    if (tf_pg_query(c->pg, res, TF_APPLY_PG_MS, sql, 1, params) != TF_PG_OK) {
        (void) snprintf(c->err, sizeof(c->err), "PostgreSQL: %s",
                        c->pg->err);
        return -1;
    }

    return 0;
}


/* Reads so many answers; adds those that are "OK" to the counter. */

static int
tf_apply_answers(tf_compare_t *c, unsigned n, atomic_ulong *counter)
{
    int          ok;
    redisReply  *reply;

    for ( /* void */ ; n > 0; n--) {
        reply = tf_redis_reply(c->redis, 0);
        ok = strcmp(tf_reply_str(reply, 0), "OK") == 0;

        if (tf_compare_done(c, reply) != 0) {
            return -1;
        }

        if (ok && counter != NULL) {
            (void) atomic_fetch_add(counter, 1);
        }
    }

    return 0;
}


static int
tf_apply_send(tf_compare_t *c, tf_cmd_t *cmd)
{
    int  rc;

    rc = tf_redis_append(c->redis, cmd);
    if (rc != 0) {
        (void) snprintf(c->err, sizeof(c->err), "%s", c->redis->err);
    }

    tf_cmd_free(cmd);

    return rc;
}


static int
tf_apply_settle(tf_compare_t *c, const char *id, tf_job_state_t state)
{
    tf_cmd_t  cmd = TF_CMD_INIT;

    tf_cmd_fcall(&cmd, TF_FN_SETTLE, c->prefix);
    tf_cmd_str(&cmd, id);
    tf_cmd_str(&cmd, tf_job_state_word(state));

    if (c->older) {
        tf_cmd_str(&cmd, "older");
    }

    return tf_apply_send(c, &cmd);
}


/* Rows end as failed, and their jobs in Redis. */

static int
tf_apply_fail(tf_compare_t *c, const tf_buf_t *ids, const char *sql,
    atomic_ulong *counter)
{
    int        i, n;
    PGresult  *res;

    if (tf_apply_query(c, &res, sql, ids) != 0) {
        return -1;
    }

    n = PQntuples(res);

    for (i = 0; i < n; i++) {
        if (tf_apply_settle(c, PQgetvalue(res, i, 0), TF_JOB_FAILED) != 0) {
            PQclear(res);
            return -1;
        }
    }

    PQclear(res);
    (void) atomic_fetch_add(counter, (unsigned long) n);

    return tf_apply_answers(c, (unsigned) n, NULL);
}


static int
tf_apply_row(tf_compare_t *c, PGresult *res, int row, int force)
{
    int       i;
    tf_cmd_t  cmd = TF_CMD_INIT;

    tf_cmd_fcall(&cmd, TF_FN_RESTORE, c->prefix);

    for (i = 0; i < PQnfields(res); i++) {
        if (!PQgetisnull(res, row, i)) {
            tf_cmd_str(&cmd, PQfname(res, i));
            tf_cmd_arg(&cmd, PQgetvalue(res, row, i),
                       (size_t) PQgetlength(res, row, i));
        }
    }

    if (force) {
        tf_cmd_str(&cmd, "force");
        tf_cmd_str(&cmd, "1");
    }

    return tf_apply_send(c, &cmd);
}


/* Rows that are still open go into Redis, all with or all without force. */

static int
tf_apply_restore(tf_compare_t *c, const tf_buf_t *ids, int force)
{
    int        i, rc;
    unsigned   sent, damaged;
    tf_buf_t   broken = TF_BUF_INIT;
    PGresult  *res;

    if (tf_apply_query(c, &res, tf_apply_whole_sql, ids) != 0) {
        return -1;
    }

    rc = -1;
    sent = 0;
    damaged = 0;
    tf_buf_puts(&broken, "{");

    for (i = 0; i < PQntuples(res); i++) {
        if (PQgetisnull(res, i, TF_APPLY_PAYLOAD)) {
            tf_log(TF_LOG_ERROR, "the row of open job %s has no request: it "
                   "ends as failed", PQgetvalue(res, i, 0));
            tf_buf_printf(&broken, "%s%s", damaged++ ? "," : "",
                          PQgetvalue(res, i, 0));
            continue;
        }

        if (tf_apply_row(c, res, i, force) != 0) {
            goto done;
        }

        sent++;
    }

    tf_buf_puts(&broken, "}");

    if (tf_apply_answers(c, sent, force ? &c->counters->rerun
                                        : &c->counters->restored)
        != 0)
    {
        goto done;
    }

    rc = damaged ? tf_apply_fail(c, &broken, tf_apply_damaged_sql,
                                 &c->counters->damaged)
                 : 0;

done:

    PQclear(res);
    tf_buf_free(&broken);

    return rc;
}


/* What goes to PostgreSQL first: by its act, some rows at a time. */

static int
tf_apply_rows(tf_compare_t *c, const tf_items_t *items, tf_act_t act)
{
    int        rc;
    unsigned   i, n;
    tf_buf_t   ids = TF_BUF_INIT;

    rc = 0;
    n = 0;

    for (i = 0; i <= items->n && rc == 0; i++) {

        if (i < items->n && items->list[i].act == act) {
            tf_buf_printf(&ids, "%s%s", n++ ? "," : "{", items->list[i].id);
        }

        if (n == 0 || (i < items->n && n < TF_APPLY_ROWS)) {
            continue;
        }

        tf_buf_puts(&ids, "}");

        rc = act == TF_ACT_EXPIRE
             ? tf_apply_fail(c, &ids, tf_apply_expire_sql,
                             &c->counters->expired)
             : tf_apply_restore(c, &ids, act == TF_ACT_RERUN);

        tf_buf_reset(&ids);
        n = 0;
    }

    tf_buf_free(&ids);

    return rc;
}


static int
tf_apply_relog(tf_compare_t *c, const tf_items_t *items)
{
    unsigned     i, n;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    n = 0;
    tf_cmd_fcall(&cmd, TF_FN_RELOG, c->prefix);

    for (i = 0; i < items->n; i++) {
        if (items->list[i].act == TF_ACT_RELOG) {
            tf_cmd_str(&cmd, items->list[i].id);
            n++;
        }
    }

    if (n == 0) {
        tf_cmd_free(&cmd);
        return 0;
    }

    reply = tf_redis_call(c->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        (void) atomic_fetch_add(&c->counters->relogged,
                                (unsigned long) reply->integer);
    }

    return tf_compare_done(c, reply);
}


/* forget or drop */

static int
tf_apply_remove(tf_compare_t *c, const tf_item_t *item)
{
    tf_cmd_t  cmd = TF_CMD_INIT;

    tf_cmd_fcall(&cmd, item->act == TF_ACT_DROP ? TF_FN_DROP : TF_FN_FORGET,
                 c->prefix);
    tf_cmd_str(&cmd, item->id);

    if (item->act == TF_ACT_DROP && item->tenant[0]) {
        tf_cmd_str(&cmd, item->tenant);
    }

    return tf_apply_send(c, &cmd);
}


/* One act that is a call of its own for each item. */

static int
tf_apply_each(tf_compare_t *c, const tf_items_t *items, tf_act_t act,
    atomic_ulong *counter)
{
    int               rc;
    unsigned          i, n;
    const tf_item_t  *item;

    n = 0;

    for (i = 0; i < items->n; i++) {
        item = &items->list[i];

        if (item->act != act) {
            continue;
        }

        rc = act == TF_ACT_SETTLE ? tf_apply_settle(c, item->id, item->row)
                                  : tf_apply_remove(c, item);
        if (rc != 0) {
            return -1;
        }

        n++;
    }

    return tf_apply_answers(c, n, counter);
}


int
tf_compare_apply(tf_compare_t *c, tf_items_t *items)
{
    if (tf_apply_rows(c, items, TF_ACT_EXPIRE) != 0
        || tf_apply_each(c, items, TF_ACT_DROP, &c->counters->dropped) != 0
        || tf_apply_rows(c, items, TF_ACT_RESTORE) != 0
        || tf_apply_rows(c, items, TF_ACT_RERUN) != 0
        || tf_apply_relog(c, items) != 0
        || tf_apply_each(c, items, TF_ACT_SETTLE, &c->counters->settled) != 0
        || tf_apply_each(c, items, TF_ACT_FORGET, &c->counters->forgotten)
           != 0)
    {
        return -1;
    }

    return 0;
}


void
tf_compare_counts(tf_compare_counts_t *counts,
    tf_compare_counters_t *counters)
{
#define TF_APPLY_LOAD(name, what)                                             \
    counts->name = atomic_load(&counters->name);
    TF_COMPARE_COUNTERS(TF_APPLY_LOAD)
#undef TF_APPLY_LOAD
}


unsigned long
tf_compare_report(const tf_compare_counts_t *since,
    tf_compare_counters_t *counters, char *text, size_t size)
{
    size_t               n;
    unsigned long        total;
    tf_compare_counts_t  now;

    n = 0;
    total = 0;
    text[0] = '\0';
    tf_compare_counts(&now, counters);

#define TF_APPLY_REPORT(name, what)                                           \
    total += now.name - since->name;                                          \
    if (now.name > since->name && n < size) {                                 \
        n += (size_t) snprintf(text + n, size - n, ", " #name " %lu",         \
                               now.name - since->name);                       \
    }
    TF_COMPARE_COUNTERS(TF_APPLY_REPORT)
#undef TF_APPLY_REPORT

    return total;
}
