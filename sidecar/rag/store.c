#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/array.h"
#include "rag/group.h"
#include "rag/meta.h"
#include "rag/search.h"


/* The items that one transaction writes. */

typedef struct {
    tf_rag_item_t  *items[TF_GROUP_DOCUMENTS];
    size_t          n;
} tf_rag_batch_t;


static tf_pg_status_t tf_rag_try(tf_rag_group_t *group,
    tf_rag_batch_t *batch);
static tf_pg_status_t tf_rag_look(tf_rag_group_t *group,
    tf_rag_batch_t *batch);
static tf_pg_status_t tf_rag_write(tf_rag_group_t *group,
    tf_rag_batch_t *batch);
static tf_pg_status_t tf_rag_lock(tf_rag_group_t *group,
    tf_rag_batch_t *batch, tf_buf_t *ids);
static tf_pg_status_t tf_rag_documents(tf_rag_group_t *group,
    tf_rag_batch_t *batch, int stored);
static tf_pg_status_t tf_rag_metadata(tf_rag_group_t *group,
    tf_rag_batch_t *batch, const char *stored);
static tf_pg_status_t tf_rag_tell_stored(tf_rag_group_t *group,
    tf_rag_batch_t *batch);
static void tf_rag_document_id(tf_rag_batch_t *batch, const char *source,
    const char *id);


tf_pg_status_t
tf_rag_store(tf_rag_group_t *group, size_t first, size_t last)
{
    int              tries;
    size_t           i;
    tf_rag_item_t   *item;
    tf_rag_batch_t   batch;
    tf_pg_status_t   rc;

    rc = TF_PG_OK;

    for (tries = 0; /* void */ ; /* void */) {
        batch.n = 0;

        for (i = first; i < last; i++) {
            if (!group->items[i].settled) {
                batch.items[batch.n++] = &group->items[i];
            }
        }

        if (batch.n == 0) {
            return TF_PG_OK;
        }

        rc = tf_rag_try(group, &batch);

        if (!tf_rag_again(group->pg, rc, &tries)) {
            break;
        }

        rc = tf_rag_group_known(group, first, last);
        if (rc != TF_PG_OK) {
            break;
        }
    }

    if (rc == TF_PG_ERROR && batch.n > 1) {
        for (i = first, rc = TF_PG_OK; i < last && rc == TF_PG_OK; i++) {
            rc = tf_rag_store(group, i, i + 1);
        }

        return rc;
    }

    for (i = 0; i < batch.n; i++) {
        item = batch.items[i];

        if (rc != TF_PG_OK) {
            tf_rag_settle(item, TF_INGEST_FAILED, group->pg->err);
            break;
        }

        item->count.written = item->doc.nput;
        item->count.kept = item->doc.nchunks - item->doc.nput;
        tf_rag_settle(item, item->version[0] ? TF_INGEST_CHANGED
                                             : TF_INGEST_NEW,
                      item->doc.text.note);
    }

    return rc;
}


static tf_pg_status_t
tf_rag_try(tf_rag_group_t *group, tf_rag_batch_t *batch)
{
    tf_pg_status_t           rc;
    const tf_rag_target_t   *target;

    target = group->target;

    tf_rag_index_reset(&group->index);

    rc = tf_rag_look(group, batch);

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_analyse(group->pg, &group->index, target->config);
    }

    if (rc == TF_PG_OK) {
        rc = tf_lexicon_resolve(&group->index.lexicon, group->pg,
                                target->tenant, target->owner,
                                target->collection_id);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_begin_as(group->pg, target->tenant, target->owner, "[]");
    }

    if (rc != TF_PG_OK) {
        return rc;
    }

    rc = tf_rag_write(group, batch);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(group->pg);
        return rc;
    }

    return tf_pg_commit(group->pg);
}


/* What is to be put, moved and dropped. */

static tf_pg_status_t
tf_rag_look(tf_rag_group_t *group, tf_rag_batch_t *batch)
{
    size_t           i;
    tf_rag_doc_t    *docs[TF_GROUP_DOCUMENTS];
    tf_pg_status_t   rc;

    for (i = 0; i < batch->n; i++) {
        docs[i] = &batch->items[i]->doc;

        if (batch->items[i]->version[0] == '\0') {
            docs[i]->id[0] = '\0';      /* of a transaction that failed */
        }

        /* the title and the rights are in each chunk's part of the index */

        docs[i]->alike = docs[i]->id[0] && !group->target->again
                         && batch->items[i]->acl
                         && strcmp(batch->items[i]->title,
                                   docs[i]->text.title) == 0;
    }

    rc = tf_pg_begin_as(group->pg, group->target->tenant,
                        group->target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    rc = tf_rag_index_diff(group->pg, &group->index, docs, batch->n);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(group->pg);
        return rc;
    }

    return tf_pg_commit(group->pg);
}


static tf_pg_status_t
tf_rag_write(tf_rag_group_t *group, tf_rag_batch_t *batch)
{
    tf_pg_t         *pg;
    tf_buf_t         ids = TF_BUF_INIT;
    tf_pg_status_t   rc;

    pg = group->pg;
    rc = TF_PG_OK;

    if (group->target->lazy) {
        rc = tf_pg_exec(pg, 0, "SET LOCAL synchronous_commit = off");
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_lock(group, batch, &ids);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_documents(group, batch, 1);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_documents(group, batch, 0);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_metadata(group, batch, ids.data);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_move(pg, &group->index);
    }

    if (rc == TF_PG_OK && strcmp(group->index.gone.data, "{}") != 0) {
        rc = tf_rag_index_drop(pg, &group->index, ids.data,
                               group->index.gone.data);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_put(pg, &group->index,
                              group->target->collection_id,
                              group->target->acl_id);
    }

    /* before the collection's row is locked, for that is taken last */

    if (rc == TF_PG_OK && group->target->stored != NULL) {
        rc = tf_rag_tell_stored(group, batch);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_index_count(pg, &group->index,
                                group->target->collection_id);
    }

    tf_buf_free(&ids);

    return rc;
}


/* The documents that are there, which must be what was looked at. */

static tf_pg_status_t
tf_rag_lock(tf_rag_group_t *group, tf_rag_batch_t *batch, tf_buf_t *ids)
{
    size_t           i, n;
    tf_buf_t         versions = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[2];
    tf_rag_item_t   *item;
    tf_pg_status_t   rc;

    for (i = 0, n = 0; i < batch->n; i++) {
        item = batch->items[i];

        if (item->version[0]) {
            n++;
            tf_array_text(ids, item->doc.id, strlen(item->doc.id));
            tf_array_text(&versions, item->version, strlen(item->version));
        }
    }

    tf_array_close(ids);
    tf_array_close(&versions);

    if (ids->failed || versions.failed) {
        tf_buf_free(&versions);
        return tf_rag_no_memory(group->pg);
    }

    params[0] = ids->data;
    params[1] = versions.data;
    rc = TF_PG_OK;

    if (n) {
        rc = tf_pg_query(group->pg, NULL, TF_RAG_STORE_MS,
                         "SELECT FROM trifecta.document "
                         "WHERE id = ANY ($1::uuid[]) "
                         "ORDER BY source COLLATE \"C\" FOR UPDATE",
                         1, params);

        if (rc == TF_PG_OK) {
            rc = tf_pg_query(group->pg, &res, TF_RAG_STORE_MS,
                             "SELECT count(*) FROM trifecta.document d "
                             "JOIN unnest($1::uuid[], $2::text[]) "
                             "AS u(id, version) ON d.id = u.id "
                             "WHERE d.xmin::text = u.version", 2, params);
        }

        if (rc == TF_PG_OK) {
            if (strtoul(PQgetvalue(res, 0, 0), NULL, 10) != n) {
                (void) strcpy(group->pg->sqlstate, "40001");
                (void) snprintf(group->pg->err, sizeof(group->pg->err),
                                "other ingests change the same documents all "
                                "the time; try again later");
                rc = TF_PG_ERROR;
            }

            PQclear(res);
        }
    }

    tf_buf_free(&versions);

    return rc;
}


/* Writes the rows of documents that are there, or of those that are new. */

static tf_pg_status_t
tf_rag_documents(tf_rag_group_t *group, tf_rag_batch_t *batch, int stored)
{
    int              row, failed;
    char             numbers[2][16];
    size_t           i;
    tf_buf_t         a[5];
    PGresult        *res;
    const char      *params[10], *given;
    tf_rag_item_t   *item;
    tf_pg_status_t   rc;

    memset(a, 0, sizeof(a));

    for (i = 0; i < batch->n; i++) {
        item = batch->items[i];

        if ((item->version[0] != '\0') != stored) {
            continue;
        }

        if (stored) {
            tf_array_text(&a[0], item->doc.id, strlen(item->doc.id));
        } else {
            tf_array_text(&a[0], item->source, strlen(item->source));
        }

        tf_array_text(&a[1], item->doc.text.title,
                      strlen(item->doc.text.title));
        tf_array_text(&a[2], item->doc.text.format,
                      strlen(item->doc.text.format));
        tf_array_text(&a[3], item->hash, strlen(item->hash));
        tf_array_int(&a[4], (long long) item->len);
    }

    if (a[0].len == 0) {
        return TF_PG_OK;
    }

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d",
                    group->target->acl_id);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d",
                    group->target->collection_id);

    for (i = 0, failed = 0; i < 5; i++) {
        tf_array_close(&a[i]);
        params[i] = a[i].data;
        failed |= a[i].failed;
    }

    given = group->target->given == NULL ? "" : group->target->given;

    params[5] = numbers[0];
    params[6] = given;
    params[7] = numbers[1];
    params[8] = group->target->owner;
    params[9] = group->target->tenant;
    res = NULL;

    if (failed) {
        rc = tf_rag_no_memory(group->pg);

    } else if (stored) {
        rc = tf_pg_query(group->pg, NULL, TF_RAG_STORE_MS,
            "UPDATE trifecta.document d SET title = u.title, "
            "format = u.format, hash = u.hash, bytes = u.bytes, acl = $6, "
            "given = $7, ingested = now() FROM unnest($1::uuid[], $2::text[], "
            "$3::text[], $4::bytea[], $5::bigint[]) AS u(id, title, format, "
            "hash, bytes) WHERE d.id = u.id", 7, params);

    } else {
        rc = tf_pg_query(group->pg, &res, TF_RAG_STORE_MS,
            "INSERT INTO trifecta.document (source, title, format, hash, "
            "bytes, acl, given, collection, owner, tenant) "
            "SELECT source, title, format, hash, bytes, $6, $7, $8, $9, $10 "
            "FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], "
            "$5::bigint[]) AS u(source, title, format, hash, bytes) "
            "ORDER BY source COLLATE \"C\" RETURNING source, id", 10, params);

        if (rc == TF_PG_OK) {
            for (row = 0; row < PQntuples(res); row++) {
                tf_rag_document_id(batch, PQgetvalue(res, row, 0),
                                   PQgetvalue(res, row, 1));
            }
        }
    }

    PQclear(res);

    for (i = 0; i < 5; i++) {
        tf_buf_free(&a[i]);
    }

    return rc;
}


static tf_pg_status_t
tf_rag_tell_stored(tf_rag_group_t *group, tf_rag_batch_t *batch)
{
    size_t              i;
    tf_rag_item_t      *item;
    tf_pg_status_t      rc;
    tf_ingest_count_t   count;

    for (i = 0, rc = TF_PG_OK; i < batch->n && rc == TF_PG_OK; i++) {
        item = batch->items[i];
        count.written = item->doc.nput;
        count.kept = item->doc.nchunks - item->doc.nput;

        rc = group->target->stored(group->target->stored_ctx, group->pg,
                                   item->path, item->source,
                                   item->version[0] ? TF_INGEST_CHANGED
                                                    : TF_INGEST_NEW,
                                   &count, item->doc.text.note == NULL
                                           ? "" : item->doc.text.note);
    }

    return rc;
}


/* What is said about the documents; "stored" are those that were there. */

static tf_pg_status_t
tf_rag_metadata(tf_rag_group_t *group, tf_rag_batch_t *batch,
    const char *stored)
{
    size_t           i;
    tf_rag_meta_t    meta;
    tf_pg_status_t   rc;

    memset(&meta, 0, sizeof(tf_rag_meta_t));

    for (i = 0; i < batch->n; i++) {
        tf_rag_meta_add(&meta, group->target, batch->items[i]->doc.id,
                        &batch->items[i]->doc.text);
    }

    rc = tf_rag_meta_put(group->pg, group->target, stored, &meta);
    tf_rag_meta_free(&meta);

    return rc;
}


static void
tf_rag_document_id(tf_rag_batch_t *batch, const char *source, const char *id)
{
    size_t  i;

    for (i = 0; i < batch->n; i++) {
        if (strcmp(batch->items[i]->source, source) == 0) {
            (void) snprintf(batch->items[i]->doc.id,
                            sizeof(batch->items[i]->doc.id), "%s", id);
            return;
        }
    }
}
