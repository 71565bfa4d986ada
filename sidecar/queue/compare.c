#include "queue/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"


#define TF_COMPARE_SCAN   "400"     /* elements of a scan, at a time */

static const char  tf_compare_open_sql[] =
    "SELECT id, tenant, state, "
    "deadline < to_timestamp($4::bigint / 1000.0) FROM trifecta.job "
    "WHERE " TF_COMPARE_OF_SHARD " AND state IN ('queued', 'running') "
    "AND id > $2::uuid AND ($3::bigint = 0 "
    "OR accepted < to_timestamp($3::bigint / 1000.0)) "
    "ORDER BY id LIMIT $5::integer";

static const char  tf_compare_rows_sql[] =
    "SELECT id, tenant, state, deleted IS NOT NULL FROM trifecta.job "
    "WHERE id = ANY ($1::uuid[])";


int
tf_compare_done(tf_compare_t *c, redisReply *reply)
{
    int  rc;

    rc = -1;

    if (reply == NULL) {
        (void) snprintf(c->err, sizeof(c->err), "%s", c->redis->err);
        return -1;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(c->err, sizeof(c->err), "Redis: %s", reply->str);
        tf_redis_close(c->redis);

    } else {
        rc = 0;
    }

    freeReplyObject(reply);

    return rc;
}


void
tf_compare_id_at(char id[TF_ID_TEXT_LEN + 1], int64_t ms)
{
    if (ms < 0) {
        ms = 0;
    }

    (void) snprintf(id, TF_ID_TEXT_LEN + 1,
                    "%08llx-%04llx-0000-0000-000000000000",
                    (unsigned long long) ms >> 16 & 0xffffffff,
                    (unsigned long long) ms & 0xffff);
}


static tf_item_t *
tf_compare_add(tf_items_t *items, const char *id)
{
    tf_item_t  *item;

    item = &items->list[items->n++];
    memset(item, 0, sizeof(tf_item_t));
    (void) snprintf(item->id, sizeof(item->id), "%s", id);
    item->redis = TF_JOB_NSTATES;
    item->row = TF_JOB_NSTATES;

    return item;
}


static int
tf_compare_order(const void *one, const void *two)
{
    return strcmp(((const tf_item_t *) one)->id,
                  ((const tf_item_t *) two)->id);
}


/* The items sorted, and their ids as an array for PostgreSQL. */

static void
tf_compare_ids(tf_items_t *items, tf_buf_t *ids)
{
    unsigned  i;

    qsort(items->list, items->n, sizeof(tf_item_t), tf_compare_order);
    tf_buf_puts(ids, "{");

    for (i = 0; i < items->n; i++) {
        tf_buf_printf(ids, "%s%s", i ? "," : "", items->list[i].id);
    }

    tf_buf_puts(ids, "}");
}


int
tf_compare_pg_failed(tf_compare_t *c, tf_pg_status_t rc)
{
    if (rc == TF_PG_OK) {
        return 0;
    }

    (void) snprintf(c->err, sizeof(c->err), "PostgreSQL: %s", c->pg->err);

    return -1;
}


int
tf_compare_open(tf_compare_t *c, tf_items_t *items, const char *after,
    int64_t before, int64_t deadline)
{
    int          i;
    char         shard[12], accepted[24], end[24], max[12];
    PGresult    *res;
    tf_item_t   *item;
    const char  *params[5];

    (void) snprintf(shard, sizeof(shard), "%u", c->shard);
    (void) snprintf(accepted, sizeof(accepted), "%lld", (long long) before);
    (void) snprintf(end, sizeof(end), "%lld", (long long) deadline);
    (void) snprintf(max, sizeof(max), "%d", TF_COMPARE_MAX);

    params[0] = shard;
    params[1] = after;
    params[2] = accepted;
    params[3] = end;
    params[4] = max;
    items->n = 0;

    if (tf_compare_pg_failed(c, tf_pg_query(c->pg, &res, TF_COMPARE_PG_MS,
                                            tf_compare_open_sql, 5, params))
        != 0)
    {
        return -1;
    }

    for (i = 0; i < PQntuples(res) && i < TF_COMPARE_MAX; i++) {
        item = tf_compare_add(items, PQgetvalue(res, i, 0));
        (void) snprintf(item->tenant, sizeof(item->tenant), "%s",
                        PQgetvalue(res, i, 1));
        item->row = tf_job_state_from_word(PQgetvalue(res, i, 2));
        item->overdue = PQgetvalue(res, i, 3)[0] == 't';
    }

    PQclear(res);

    return 0;
}


/* The next part of a scan; 1, 0 when it is over, -1. */

static int
tf_compare_next(tf_compare_t *c, tf_compare_scan_t *scan, tf_cmd_t *cmd)
{
    redisReply  *reply;

    reply = tf_redis_call(c->redis, 0, cmd);

    if (tf_reply_len(reply) != 2) {
        return tf_compare_done(c, reply) == 0 ? 0 : -1;
    }

    (void) snprintf(scan->cursor, sizeof(scan->cursor), "%s",
                    tf_reply_str(reply, 0));
    scan->reply = reply;
    scan->next = 0;

    return 1;
}


/* Whether there is more to be had from the reply; an old one is freed. */

static int
tf_compare_more(tf_compare_scan_t *scan)
{
    if (scan->reply == NULL) {
        return 0;
    }

    if (scan->next < tf_reply_len(scan->reply->element[1])) {
        return 1;
    }

    tf_compare_scan_free(scan);

    return 0;
}


void
tf_compare_scan_free(tf_compare_scan_t *scan)
{
    freeReplyObject(scan->reply);
    scan->reply = NULL;
    scan->next = 0;
}


/* Whether the text is an id, written as ids are. */

int
tf_compare_is_id(const char *text)
{
    char     canon[TF_ID_TEXT_LEN + 1];
    tf_id_t  id;

    if (tf_id_parse(&id, text, strlen(text)) != 0) {
        return 0;
    }

    tf_id_format(canon, &id);
    canon[TF_ID_TEXT_LEN] = '\0';

    return strcmp(canon, text) == 0;
}


static int
tf_compare_stranger(tf_compare_t *c, const redisReply *name)
{
    tf_cmd_t  cmd = TF_CMD_INIT;

    tf_log(TF_LOG_ERROR, "the open jobs of shard %u had \"%.64s\", which is "
           "no job's id: something else writes into this Redis", c->shard,
           name->str);

    tf_cmd_fcall(&cmd, TF_FN_DROP, c->prefix);
    tf_cmd_arg(&cmd, name->str, name->len);

    if (tf_compare_done(c, tf_redis_call(c->redis, 0, &cmd)) != 0) {
        tf_cmd_free(&cmd);
        return -1;
    }

    tf_cmd_free(&cmd);
    (void) atomic_fetch_add(&c->counters->dropped, 1);

    return 0;
}


int
tf_compare_live(tf_compare_t *c, tf_items_t *items, tf_compare_scan_t *scan)
{
    int                rc;
    char               key[TF_KEY_PREFIX_MAX + 8];
    tf_cmd_t           cmd = TF_CMD_INIT;
    tf_item_t         *item;
    const redisReply  *list;

    items->n = 0;

    while (!tf_compare_more(scan)) {
        if (strcmp(scan->cursor, "0") == 0) {
            return 0;
        }

        (void) snprintf(key, sizeof(key), "%s:live", c->prefix);
        tf_cmd_begin(&cmd, "ZSCAN");
        tf_cmd_str(&cmd, key);
        tf_cmd_str(&cmd, scan->cursor[0] ? scan->cursor : "0");
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_str(&cmd, TF_COMPARE_SCAN);
        rc = tf_compare_next(c, scan, &cmd);
        tf_cmd_free(&cmd);

        if (rc != 1) {
            return rc;
        }
    }

    list = scan->reply->element[1];

    for ( /* void */ ;
         scan->next + 1 < tf_reply_len(list) && items->n < TF_COMPARE_MAX;
         scan->next += 2)
    {
        if (!tf_compare_is_id(tf_reply_str(list, scan->next))) {
            if (tf_compare_stranger(c, list->element[scan->next]) != 0) {
                return -1;
            }
            continue;
        }

        item = tf_compare_add(items, tf_reply_str(list, scan->next));
        item->acc = tf_reply_num(list, scan->next + 1);
    }

    return 1;
}


int
tf_compare_hashes(tf_compare_t *c, tf_items_t *items, tf_compare_scan_t *scan)
{
    int                rc;
    char               match[TF_KEY_PREFIX_MAX + 8];
    size_t             skip;
    tf_cmd_t           cmd = TF_CMD_INIT;
    const char        *key;
    const redisReply  *list;

    items->n = 0;
    (void) snprintf(match, sizeof(match), "%s:j:*", c->prefix);
    skip = strlen(match) - 1;

    while (!tf_compare_more(scan)) {
        if (strcmp(scan->cursor, "0") == 0) {
            return 0;
        }

        tf_cmd_begin(&cmd, "SCAN");
        tf_cmd_str(&cmd, scan->cursor[0] ? scan->cursor : "0");
        tf_cmd_str(&cmd, "MATCH");
        tf_cmd_str(&cmd, match);
        tf_cmd_str(&cmd, "COUNT");
        tf_cmd_str(&cmd, TF_COMPARE_SCAN);
        rc = tf_compare_next(c, scan, &cmd);
        tf_cmd_free(&cmd);

        if (rc != 1) {
            return rc;
        }
    }

    list = scan->reply->element[1];

    for ( /* void */ ;
         scan->next < tf_reply_len(list) && items->n < TF_COMPARE_MAX;
         scan->next++)
    {
        key = tf_reply_str(list, scan->next);

        if (strncmp(key, match, skip) == 0 && tf_compare_is_id(key + skip)) {
            (void) tf_compare_add(items, key + skip);
        }
    }

    return 1;
}


int
tf_compare_redis(tf_compare_t *c, tf_items_t *items)
{
    unsigned           i;
    tf_cmd_t           cmd = TF_CMD_INIT;
    tf_item_t         *item;
    redisReply        *reply;
    const redisReply  *one;

    if (items->n == 0) {
        return 0;
    }

    tf_cmd_begin(&cmd, "FCALL_RO");
    tf_cmd_str(&cmd, TF_FN_CHECK);
    tf_cmd_str(&cmd, "1");
    tf_cmd_str(&cmd, c->prefix);

    for (i = 0; i < items->n; i++) {
        tf_cmd_str(&cmd, items->list[i].id);
    }

    reply = tf_redis_call(c->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    for (i = 0; i < items->n && i < tf_reply_len(reply); i++) {
        item = &items->list[i];
        one = reply->element[i];

        /* "absent" is no state */
        item->redis = tf_job_state_from_word(tf_reply_str(one, 0));
        item->sound = tf_reply_num(one, 2) != 0;
        item->deleted = tf_reply_num(one, 4) != 0;

        if (item->tenant[0] == '\0') {
            (void) snprintf(item->tenant, sizeof(item->tenant), "%s",
                            tf_reply_str(one, 3));
        }
    }

    return tf_compare_done(c, reply);
}


int
tf_compare_rows(tf_compare_t *c, tf_items_t *items)
{
    int              i;
    tf_buf_t         ids = TF_BUF_INIT;
    PGresult        *res;
    tf_item_t       *item, key;
    const char      *params[1];
    tf_pg_status_t   rc;

    if (items->n == 0) {
        return 0;
    }

    tf_compare_ids(items, &ids);

    if (ids.failed) {
        tf_buf_free(&ids);
        (void) snprintf(c->err, sizeof(c->err), "out of memory");
        return -1;
    }

    params[0] = ids.data;
    rc = tf_pg_query(c->pg, &res, TF_COMPARE_PG_MS, tf_compare_rows_sql, 1,
                     params);
    tf_buf_free(&ids);

    if (tf_compare_pg_failed(c, rc) != 0) {
        return -1;
    }

    for (i = 0; i < (int) items->n; i++) {
        items->list[i].row = TF_JOB_NSTATES;
    }

    for (i = 0; i < PQntuples(res); i++) {
        (void) snprintf(key.id, sizeof(key.id), "%s", PQgetvalue(res, i, 0));

        item = bsearch(&key, items->list, items->n, sizeof(tf_item_t),
                       tf_compare_order);

        if (item != NULL) {
            (void) snprintf(item->tenant, sizeof(item->tenant), "%s",
                            PQgetvalue(res, i, 1));
            item->row = tf_job_state_from_word(PQgetvalue(res, i, 2));
            item->erased = PQgetvalue(res, i, 3)[0] == 't';
        }
    }

    PQclear(res);

    return 0;
}
