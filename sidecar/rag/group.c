#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract.h"
#include "rag/array.h"
#include "rag/group.h"
#include "rag/search.h"


static tf_rag_item_t *tf_rag_group_item(tf_rag_group_t *group,
    const char *path, const char *source);
static int tf_rag_group_has(const tf_rag_group_t *group, const char *source);
static int tf_rag_group_data(tf_rag_group_t *group, const char *path,
    const char *source, char *data, size_t len);
static int tf_rag_group_filled(tf_rag_group_t *group);
static int tf_rag_group_work(tf_rag_group_t *group, int final);
static void tf_rag_group_extract(tf_rag_group_t *group, tf_rag_item_t *item);


tf_rag_group_t *
tf_rag_group_create(tf_pg_t *pg, const tf_rag_target_t *target,
    tf_rag_done_pt done, void *ctx)
{
    tf_rag_group_t  *group;

    group = calloc(1, sizeof(tf_rag_group_t));
    if (group == NULL) {
        return NULL;
    }

    group->items = calloc(TF_GROUP_DOCUMENTS, sizeof(tf_rag_item_t));
    if (group->items == NULL) {
        free(group);
        return NULL;
    }

    group->pg = pg;
    group->target = target;
    group->done = done;
    group->ctx = ctx;

    return group;
}


void
tf_rag_group_reset(tf_rag_group_t *group)
{
    size_t          i;
    tf_rag_item_t  *item;

    for (i = 0; i < group->n; i++) {
        item = &group->items[i];

        free(item->path);
        free(item->source);
        free(item->data);
        free(item->title);
        free(item->err);
        free(item->doc.chunks);
        tf_text_free(&item->doc.text);
    }

    group->n = 0;
    group->bytes = 0;
    tf_rag_index_reset(&group->index);
}


void
tf_rag_group_free(tf_rag_group_t *group)
{
    tf_rag_lanes_close(group);
    tf_rag_group_reset(group);
    tf_rag_index_free(&group->index);
    free(group->items);
    free(group);
}


void
tf_rag_settle(tf_rag_item_t *item, tf_ingest_t outcome, const char *err)
{
    item->settled = 1;
    item->outcome = outcome;

    free(item->err);
    item->err = strdup(err == NULL ? "" : err);

    free(item->data);
    item->data = NULL;
    free(item->doc.chunks);
    item->doc.chunks = NULL;
    tf_text_free(&item->doc.text);
    memset(&item->doc.text, 0, sizeof(tf_text_t));
}


static tf_rag_item_t *
tf_rag_group_item(tf_rag_group_t *group, const char *path, const char *source)
{
    tf_rag_item_t  *item;

    item = &group->items[group->n];
    memset(item, 0, sizeof(tf_rag_item_t));

    item->path = strdup(path);
    item->source = strdup(source);

    if (item->path == NULL || item->source == NULL) {
        free(item->path);
        free(item->source);
        return NULL;
    }

    group->n++;

    return item;
}


/* An archive may have two members of one name: the second replaces it. */

static int
tf_rag_group_has(const tf_rag_group_t *group, const char *source)
{
    size_t  i;

    for (i = 0; i < group->n; i++) {
        if (strcmp(group->items[i].source, source) == 0) {
            return 1;
        }
    }

    return tf_rag_lanes_have(group, source);
}


/* Takes data. */

static int
tf_rag_group_data(tf_rag_group_t *group, const char *path,
    const char *source, char *data, size_t len)
{
    tf_rag_item_t  *item;

    static const tf_ingest_count_t  none;

    if ((group->bytes + len > TF_GROUP_BYTES
         && tf_rag_group_work(group, 0) != 0)
        || (tf_rag_group_has(group, source)
            && tf_rag_group_flush(group) != 0))
    {
        free(data);
        return -1;
    }

    item = tf_rag_group_item(group, path, source);

    if (item == NULL) {
        free(data);
        group->done(group->ctx, path, source, TF_INGEST_REFUSED, &none,
                    "out of memory");
        return 0;
    }

    item->data = data;
    item->len = len;
    tf_rag_hash(data, len, item->hash);
    group->bytes += len;

    return tf_rag_group_filled(group);
}


static int
tf_rag_group_filled(tf_rag_group_t *group)
{
    return group->n == TF_GROUP_DOCUMENTS || group->bytes >= TF_GROUP_BYTES
           ? tf_rag_group_work(group, 0) : 0;
}


int
tf_rag_group_add(tf_rag_group_t *group, const char *path, const char *source,
    const char *data, size_t len)
{
    char  *copy;

    static const tf_ingest_count_t  none;

    copy = malloc(len + 1);
    if (copy == NULL) {
        group->done(group->ctx, path, source, TF_INGEST_REFUSED, &none,
                    "out of memory");
        return 0;
    }

    memcpy(copy, data, len);
    copy[len] = '\0';

    return tf_rag_group_data(group, path, source, copy, len);
}


int
tf_rag_group_add_file(tf_rag_group_t *group, const char *path,
    const char *source)
{
    char            err[512], *data;
    size_t          len;
    tf_ingest_t     outcome;
    tf_rag_item_t  *item;

    static const tf_ingest_count_t  none;

    outcome = tf_rag_read(&group->target->limits, path, source, &data, &len,
                          err, sizeof(err));

    if (outcome == TF_INGEST_NEW) {
        return tf_rag_group_data(group, path, source, data, len);
    }

    /* in its turn */

    item = tf_rag_group_item(group, path, source);

    if (item == NULL) {
        group->done(group->ctx, path, source, outcome, &none, err);
        return 0;
    }

    tf_rag_settle(item, outcome, err);

    return tf_rag_group_filled(group);
}


int
tf_rag_group_flush(tf_rag_group_t *group)
{
    int  rc;

    rc = tf_rag_group_work(group, 1);

    return tf_rag_lanes_wait(group) == 0 ? rc : -1;
}


static int
tf_rag_group_work(tf_rag_group_t *group, int final)
{
    int              rc;
    size_t           i, first, chunks, bytes;
    tf_rag_item_t   *item;

    rc = 0;

    if (tf_rag_group_known(group, 0, group->n) != TF_PG_OK) {
        for (i = 0; i < group->n; i++) {
            if (!group->items[i].settled) {
                tf_rag_settle(&group->items[i], TF_INGEST_FAILED,
                              group->pg->err);
                break;
            }
        }

        (void) tf_rag_lanes_wait(group);
        (void) tf_rag_group_tell(group, 0, group->n);
        tf_rag_group_reset(group);

        return -1;
    }

    for (i = 0, first = 0, chunks = 0, bytes = 0;
         i < group->n && rc == 0;
         i++)
    {
        item = &group->items[i];

        if (!item->settled) {
            tf_rag_group_extract(group, item);
        }

        if (!item->settled) {
            chunks += item->doc.nchunks + item->old;
            bytes += item->doc.text.len;
        }

        if (chunks >= TF_GROUP_CHUNKS || bytes >= TF_GROUP_BYTES
            || i + 1 == group->n)
        {
            rc = tf_rag_lanes_write(group, first, i + 1,
                                    final && i + 1 == group->n);
            first = i + 1;
            chunks = 0;
            bytes = 0;
        }
    }

    tf_rag_group_reset(group);

    return rc;
}


static void
tf_rag_group_extract(tf_rag_group_t *group, tf_rag_item_t *item)
{
    char  err[512];

    if (tf_extract(&group->target->limits, item->source, item->data,
                   item->len, &item->doc.text, err, sizeof(err))
        != 0)
    {
        memset(&item->doc.text, 0, sizeof(tf_text_t));
        tf_rag_settle(item, TF_INGEST_REFUSED, err);
        return;
    }

    free(item->data);
    item->data = NULL;

    item->doc.chunks = tf_chunks(&item->doc.text, &item->doc.nchunks);

    if (item->doc.chunks == NULL) {
        tf_rag_settle(item, TF_INGEST_REFUSED, "out of memory");
    }
}


int
tf_rag_group_tell(tf_rag_group_t *group, size_t first, size_t last)
{
    size_t          i;
    tf_rag_item_t  *item;

    for (i = first; i < last && group->items[i].settled; i++) {
        item = &group->items[i];

        group->done(group->ctx, item->path, item->source, item->outcome,
                    &item->count, item->err == NULL ? "" : item->err);

        if (item->outcome == TF_INGEST_FAILED) {
            return -1;
        }
    }

    return 0;
}


tf_pg_status_t
tf_rag_group_known(tf_rag_group_t *group, size_t first, size_t last)
{
    int              row;
    char             numbers[2][16];
    size_t           i;
    tf_buf_t         sources = TF_BUF_INIT, hashes = TF_BUF_INIT;
    tf_buf_t         places = TF_BUF_INIT;
    tf_pg_t         *pg;
    PGresult        *res;
    const char      *params[8];
    tf_rag_item_t   *item;
    tf_pg_status_t   rc;

    pg = group->pg;

    for (i = first; i < last; i++) {
        item = &group->items[i];

        if (item->settled) {
            continue;
        }

        item->version[0] = '\0';
        item->doc.id[0] = '\0';
        item->old = 0;

        tf_array_text(&sources, item->source, strlen(item->source));
        tf_array_text(&hashes, item->hash, strlen(item->hash));
        tf_array_int(&places, (long long) i);
    }

    if (sources.len == 0) {
        return TF_PG_OK;
    }

    tf_array_close(&sources);
    tf_array_close(&hashes);
    tf_array_close(&places);

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d",
                    group->target->collection_id);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d",
                    group->target->acl_id);

    params[0] = sources.data;
    params[1] = hashes.data;
    params[2] = places.data;
    params[3] = numbers[0];
    params[4] = group->target->owner;
    params[5] = group->target->tenant;
    params[6] = numbers[1];
    params[7] = group->target->given == NULL ? "" : group->target->given;

    rc = sources.failed || hashes.failed || places.failed
         ? tf_rag_no_memory(pg)
         : tf_pg_begin_as(pg, group->target->tenant, group->target->owner,
                          "[]");
    if (rc != TF_PG_OK) {
        goto done;
    }

    /* OFFSET 0: one look-up a source, whatever the statistics say */

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
        "SELECT u.place, d.id, d.xmin, d.title, d.acl = $7, "
            "d.hash = u.hash AND d.given = $8, (SELECT count(*) "
            "FROM trifecta.chunk c WHERE c.document = d.id) "
        "FROM unnest($1::text[], $2::bytea[], $3::int[]) "
            "AS u(source, hash, place), LATERAL ("
            "SELECT xmin, * FROM trifecta.document WHERE collection = $4 "
            "AND owner = $5 AND source = u.source AND tenant = $6 OFFSET 0"
        ") AS d", 8, params);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        goto done;
    }

    for (row = 0; row < PQntuples(res); row++) {
        item = &group->items[atoi(PQgetvalue(res, row, 0))];

        (void) snprintf(item->doc.id, sizeof(item->doc.id), "%s",
                        PQgetvalue(res, row, 1));
        (void) snprintf(item->version, sizeof(item->version), "%s",
                        PQgetvalue(res, row, 2));
        free(item->title);
        item->title = strdup(PQgetvalue(res, row, 3));
        item->acl = PQgetvalue(res, row, 4)[0] == 't';
        item->old = strtoul(PQgetvalue(res, row, 6), NULL, 10);

        if (item->title == NULL) {
            rc = tf_rag_no_memory(pg);
            break;
        }

        if (item->acl && PQgetvalue(res, row, 5)[0] == 't'
            && !group->target->again)
        {
            item->count.kept = item->old;
            tf_rag_settle(item, TF_INGEST_SAME, NULL);
        }
    }

    PQclear(res);

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);

    } else {
        tf_pg_rollback(pg);
    }

done:

    tf_buf_free(&sources);
    tf_buf_free(&hashes);
    tf_buf_free(&places);

    return rc;
}
