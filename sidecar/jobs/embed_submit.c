#include "jobs/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/jobs.h"
#include "queue/submit.h"


int
tf_embed_submit_one(const tf_conf_t *conf, const char *tenant,
    const char *owner, int set, const tf_rag_slice_t *slice, char *err,
    size_t errlen)
{
    char         id[TF_ID_TEXT_LEN + 1], payload[160];
    tf_submit_t  job;

    (void) snprintf(payload, sizeof(payload), "{\"set\":%d,\"part\":%u,"
                    "\"parts\":%u,\"after\":%lld}", set, slice->part,
                    slice->parts, slice->after);

    memset(&job, 0, sizeof(job));
    job.tenant = tenant;
    job.owner = owner;
    job.groups = "[]";
    job.scopes = "[]";
    job.kind = "embed";
    job.model = "";
    job.payload = payload;
    job.fp = "";

    return tf_submit(conf, &job, id, err, errlen);
}


int
tf_embed_submit(const tf_conf_t *conf, const char *tenant, const char *owner,
    int set, unsigned parts, char *err, size_t errlen)
{
    tf_rag_slice_t  slice;

    memset(&slice, 0, sizeof(slice));
    slice.parts = parts;

    for (slice.part = 0; slice.part < parts; slice.part++) {
        if (tf_embed_submit_one(conf, tenant, owner, set, &slice, err, errlen)
            != 0)
        {
            return -1;
        }
    }

    return 0;
}


int
tf_embed_after(tf_pg_t *pg, const char *tenant, const char *owner,
    int collection, char *err, size_t errlen)
{
    int              i, n;
    char             number[16];
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    (void) snprintf(number, sizeof(number), "%d", collection);
    params[0] = number;
    res = NULL;

    rc = tf_pg_begin_as(pg, tenant, owner, "[]");

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, &res, 0,
                         "SELECT id FROM trifecta.embedding_set "
                         "WHERE status <> 'retired' AND (collection IS NULL "
                         "OR collection = $1::integer)", 1, params);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);
    }

    if (rc != TF_PG_OK) {
        (void) snprintf(err, errlen, "%s", pg->err);
        tf_pg_rollback(pg);
        PQclear(res);
        return -1;
    }

    for (i = 0, n = 0; i < PQntuples(res) && n >= 0; i++) {
        n = tf_embed_submit(pg->conf, tenant, owner,
                            atoi(PQgetvalue(res, i, 0)), 1, err, errlen) == 0
            ? n + 1 : -1;
    }

    PQclear(res);

    return n;
}
