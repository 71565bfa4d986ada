#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "base/buf.h"
#include "rag/array.h"
#include "extract/extract.h"
#include "rag/index.h"
#include "rag/ingest.h"


#define TF_INGEST_TRIES  5


static tf_pg_status_t tf_rag_store(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *source, const char *hash, size_t len, const tf_text_t *text,
    tf_rag_index_t *index, int *changed);
static tf_pg_status_t tf_rag_same(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *source, const char *hash, size_t *chunks, int *same);


tf_pg_status_t
tf_rag_target_open(tf_pg_t *pg, tf_rag_target_t *target)
{
    size_t           n;
    tf_buf_t         groups = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[4], *s;
    tf_pg_status_t   rc;

    for (s = target->groups ? target->groups : ""; *s; s += n + (s[n] == ','))
    {
        n = strcspn(s, ",");
        if (n) {
            tf_array_text(&groups, s, n);
        }
    }

    tf_array_close(&groups);

    if (groups.failed) {
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        tf_buf_free(&groups);
        return TF_PG_ERROR;
    }

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        goto done;
    }

    params[0] = target->tenant;
    params[1] = target->collection;
    params[2] = target->language;

    rc = tf_pg_query(pg, NULL, 0,
                     "INSERT INTO trifecta.collection (tenant, name, language) "
                     "SELECT $1, $2, $3::regconfig::text "
                     "ON CONFLICT DO NOTHING", 3, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT id, language FROM trifecta.collection "
                     "WHERE tenant = $1 AND name = $2", 2, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    target->collection_id = PQntuples(res) ? atoi(PQgetvalue(res, 0, 0)) : 0;
    (void) snprintf(target->config, sizeof(target->config), "%s",
                    PQntuples(res) ? PQgetvalue(res, 0, 1) : "");
    PQclear(res);

    params[1] = target->owner;
    params[2] = target->visibility;
    params[3] = groups.data;

    rc = tf_pg_query(pg, NULL, 0,
                     "INSERT INTO trifecta.acl (tenant, owner, visibility, "
                     "groups) VALUES ($1, $2, $3, (SELECT coalesce(array_agg("
                     "DISTINCT g ORDER BY g), '{}') FROM unnest($4::text[]) g"
                     ")) ON CONFLICT DO NOTHING", 4, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT id FROM trifecta.acl WHERE tenant = $1 "
                     "AND owner = $2 AND visibility = $3 AND groups = (SELECT "
                     "coalesce(array_agg(DISTINCT g ORDER BY g), '{}') FROM "
                     "unnest($4::text[]) g)", 4, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    target->acl_id = PQntuples(res) ? atoi(PQgetvalue(res, 0, 0)) : 0;
    PQclear(res);

    rc = tf_pg_commit(pg);
    goto done;

failed:

    tf_pg_rollback(pg);

done:

    tf_buf_free(&groups);

    return rc;
}


tf_pg_status_t
tf_rag_target_flush(tf_pg_t *pg, const tf_rag_target_t *target)
{
    char             collection[16];
    const char      *params[1];
    tf_pg_status_t   rc;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    /* something must be written, or the commit waits for nothing */

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    params[0] = collection;

    rc = tf_pg_query(pg, NULL, TF_RAG_STORE_MS,
                     "UPDATE trifecta.collection SET chunks = chunks "
                     "WHERE id = $1", 1, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg);
}


tf_ingest_t
tf_rag_ingest_file(tf_pg_t *pg, const tf_rag_target_t *target,
    const char *path, const char *source, tf_ingest_count_t *count,
    char *err, size_t errlen)
{
    int           fd;
    char         *data, head[512];
    size_t        len;
    ssize_t       n;
    int64_t       max;
    struct stat   st;
    tf_ingest_t   rc;

    memset(count, 0, sizeof(tf_ingest_count_t));

    /* a FIFO must not hold the ingest, and what is checked is what is read */

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_NOCTTY);

    if (fd == -1 || fstat(fd, &st) == -1) {
        (void) snprintf(err, errlen, "cannot read: %s", strerror(errno));
        if (fd != -1) {
            (void) close(fd);
        }
        return TF_INGEST_REFUSED;
    }

    if (!S_ISREG(st.st_mode)) {
        (void) snprintf(err, errlen, "not a regular file");
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    max = target->limits.v[TF_LIMIT_file];

    if (tf_extract_format(source) == NULL) {
        n = pread(fd, head, sizeof(head), 0);

        if (n <= 0 || tf_extract_sniff(source, head, (size_t) n) == NULL) {
            (void) snprintf(err, errlen, "not a known format (%s)",
                            tf_extract_formats());
            (void) close(fd);
            return TF_INGEST_OTHER;
        }
    }

    if (st.st_size > max) {
        (void) snprintf(err, errlen, "larger than %lld MB (limit %s); %s, or "
                        "raise it: --limit file=...", (long long) (max / TF_MB),
                        tf_limit_print(&target->limits, TF_LIMIT_file, head,
                                       sizeof(head)),
                        tf_limit_help(TF_LIMIT_file));
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    data = malloc((size_t) st.st_size + 1);
    if (data == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    for (len = 0; len < (size_t) st.st_size; len += (size_t) n) {
        n = read(fd, data + len, (size_t) st.st_size - len);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            (void) snprintf(err, errlen, "cannot read: %s", strerror(errno));
            (void) close(fd);
            free(data);
            return TF_INGEST_REFUSED;
        }

        if (n == 0) {
            break;
        }
    }

    (void) close(fd);
    data[len] = '\0';

    rc = tf_rag_ingest(pg, target, source, data, len, count, err, errlen);

    free(data);

    return rc;
}


tf_ingest_t
tf_rag_ingest(tf_pg_t *pg, const tf_rag_target_t *target, const char *source,
    const char *data, size_t len, tf_ingest_count_t *count, char *err,
    size_t errlen)
{
    int              same, changed, tries;
    char             hash[2 + 2 * SHA256_DIGEST_LENGTH + 1];
    size_t           i;
    tf_text_t        text;
    tf_ingest_t      outcome;
    unsigned char    md[SHA256_DIGEST_LENGTH];
    tf_pg_status_t   rc;
    tf_rag_index_t  *index;

    memset(count, 0, sizeof(tf_ingest_count_t));

    (void) SHA256((const unsigned char *) data, len, md);

    (void) snprintf(hash, sizeof(hash), "\\x");
    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        (void) snprintf(hash + 2 + 2 * i, 3, "%02x", md[i]);
    }

    if (tf_utf8_valid(source, strlen(source)) != strlen(source)) {
        (void) snprintf(err, errlen, "its name is not valid UTF-8");
        return TF_INGEST_REFUSED;
    }

    same = 0;

    if (!target->again) {
        rc = tf_rag_same(pg, target, source, hash, &count->kept, &same);
        if (rc != TF_PG_OK) {
            (void) snprintf(err, errlen, "%s", pg->err);
            return TF_INGEST_FAILED;
        }
    }

    if (same) {
        return TF_INGEST_SAME;
    }

    if (tf_extract(&target->limits, source, data, len, &text, err, errlen)
        != 0)
    {
        return TF_INGEST_REFUSED;
    }

    index = tf_rag_index_make(&text);
    if (index == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        tf_text_free(&text);
        return TF_INGEST_REFUSED;
    }

    changed = 0;
    tries = 0;

    do {
        rc = tf_rag_store(pg, target, source, hash, len, &text, index,
                          &changed);
    } while (tf_rag_again(pg, rc, &tries));

    if (rc == TF_PG_OK) {
        count->written = index->nput;
        count->kept = index->nchunks - index->nput;
        (void) snprintf(err, errlen, "%s", text.note == NULL ? "" : text.note);
        outcome = changed ? TF_INGEST_CHANGED : TF_INGEST_NEW;

    } else {
        (void) snprintf(err, errlen, "%s", pg->err);
        outcome = TF_INGEST_FAILED;
    }

    tf_rag_index_free(index);
    tf_text_free(&text);

    return outcome;
}


/* Somebody else ingests the same document, or a server breaks a tie. */

int
tf_rag_again(const tf_pg_t *pg, tf_pg_status_t rc, int *tries)
{
    return rc == TF_PG_ERROR && ++*tries < TF_INGEST_TRIES
           && (strcmp(pg->sqlstate, "40P01") == 0
               || strcmp(pg->sqlstate, "40001") == 0
               || strcmp(pg->sqlstate, "23505") == 0);
}


static tf_pg_status_t
tf_rag_same(tf_pg_t *pg, const tf_rag_target_t *target, const char *source,
    const char *hash, size_t *chunks, int *same)
{
    char             collection[16], acl[16];
    PGresult        *res;
    const char      *params[5];
    tf_pg_status_t   rc;

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    (void) snprintf(acl, sizeof(acl), "%d", target->acl_id);
    params[0] = collection;
    params[1] = target->owner;
    params[2] = source;
    params[3] = hash;
    params[4] = acl;

    rc = tf_pg_query(pg, &res, 0,
                     "SELECT (SELECT count(*) FROM trifecta.chunk c "
                     "WHERE c.document = d.id) FROM trifecta.document d "
                     "WHERE collection = $1 AND owner = $2 AND source = $3 "
                     "AND hash = $4 AND acl = $5", 5, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    *same = PQntuples(res) == 1;
    if (*same) {
        *chunks = strtoul(PQgetvalue(res, 0, 0), NULL, 10);
    }

    PQclear(res);

    return tf_pg_commit(pg);
}


static tf_pg_status_t
tf_rag_store(tf_pg_t *pg, const tf_rag_target_t *target, const char *source,
    const char *hash, size_t len, const tf_text_t *text,
    tf_rag_index_t *index, int *changed)
{
    int              alike;
    char             collection[16], acl[16], bytes[32], id[40];
    tf_buf_t         gone = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[9];
    tf_pg_status_t   rc;

    tf_rag_index_reset(index);

    rc = tf_pg_begin_as(pg, target->tenant, target->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    if (target->lazy) {
        rc = tf_pg_exec(pg, 0, "SET LOCAL synchronous_commit = off");
        if (rc != TF_PG_OK) {
            goto failed;
        }
    }

    (void) snprintf(collection, sizeof(collection), "%d",
                    target->collection_id);
    (void) snprintf(acl, sizeof(acl), "%d", target->acl_id);
    (void) snprintf(bytes, sizeof(bytes), "%zu", len);

    params[0] = collection;
    params[1] = target->owner;
    params[2] = source;
    params[3] = text->title;
    params[4] = text->format;
    params[5] = hash;
    params[6] = bytes;
    params[7] = acl;
    params[8] = target->tenant;

    rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                     "UPDATE trifecta.document d SET title = $4, format = $5, "
                     "hash = $6, bytes = $7, acl = $8, ingested = now() "
                     "FROM (SELECT id, title, acl FROM trifecta.document "
                           "WHERE collection = $1 AND owner = $2 "
                           "AND source = $3 AND tenant = $9 FOR UPDATE) AS o "
                     "WHERE d.id = o.id "
                     "RETURNING d.id, o.title = $4 AND o.acl = $8", 9, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    *changed = PQntuples(res) == 1;

    if (!*changed) {
        PQclear(res);

        rc = tf_pg_query(pg, &res, TF_RAG_STORE_MS,
                         "INSERT INTO trifecta.document (collection, owner, "
                         "source, title, format, hash, bytes, acl, tenant) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
                         "RETURNING id", 9, params);
        if (rc != TF_PG_OK) {
            goto failed;
        }
    }

    /* the title and the rights are in each chunk's part of the index */

    alike = *changed && !target->again
            && strcmp(PQgetvalue(res, 0, 1), "t") == 0;

    (void) snprintf(id, sizeof(id), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    if (alike) {
        rc = tf_rag_index_diff(pg, index, id, text, &gone);
        if (rc != TF_PG_OK) {
            goto failed;
        }
    }

    if (*changed) {
        rc = tf_rag_index_drop(pg, index, id, alike ? gone.data : NULL);
        if (rc != TF_PG_OK) {
            goto failed;
        }
    }

    rc = tf_rag_index_put(pg, index, id, target->collection_id,
                          target->acl_id, target->config, text);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    rc = tf_rag_index_count(pg, index, target->collection_id);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    tf_buf_free(&gone);

    return tf_pg_commit(pg);

failed:

    tf_buf_free(&gone);
    tf_pg_rollback(pg);

    return rc;
}
