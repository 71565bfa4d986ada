#include "jobs/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define TF_STEPS_MS  30000

static const char *const  tf_ingest_words[] = {
    "new", "changed", "unchanged", "other", "skipped", "failed"
};


tf_pg_status_t
tf_ingest_steps_load(tf_ingest_job_t *ij)
{
    int              row;
    json_t          *output;
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    rc = tf_pg_begin_as(ij->pg, ij->of.tenant, ij->of.owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    params[0] = ij->job->id;

    rc = tf_pg_query(ij->pg, &res, TF_STEPS_MS,
                     "SELECT step, output FROM trifecta.job_step "
                     "WHERE job = $1", 1, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(ij->pg);
        return rc;
    }

    for (row = 0; row < PQntuples(res); row++) {
        output = json_loads(PQgetvalue(res, row, 1), 0, NULL);
        (void) json_object_set_new(ij->steps, PQgetvalue(res, row, 0),
                                   output == NULL ? json_null() : output);
    }

    PQclear(res);

    return tf_pg_commit(ij->pg);
}


static void
tf_ingest_step_count(tf_ingest_job_t *ij, const char *step,
    const char *source, tf_ingest_t outcome, const tf_ingest_count_t *count,
    const char *note)
{
    ij->count[outcome]++;
    ij->chunks.written += count->written;
    ij->chunks.kept += count->kept;

    if ((outcome == TF_INGEST_REFUSED || note[0])
        && ij->skipped++ < TF_INGEST_TOLD)
    {
        tf_buf_printf(&ij->told, "skipped %s%s: %s\n",
                      outcome == TF_INGEST_REFUSED ? "" : "in ", source, note);
    }

    /* a file, and none of an archive */

    if (strchr(step + sizeof("file:") - 1, ':') == NULL) {
        (void) atomic_fetch_add(&ij->job->done, 1);
    }
}


int
tf_ingest_step_known(tf_ingest_job_t *ij, const char *step,
    const char *source)
{
    size_t              i;
    json_t             *output;
    const char         *word, *note;
    tf_ingest_count_t   count;

    output = json_object_get(ij->steps, step);

    if (output == NULL) {
        return 0;
    }

    word = json_string_value(json_object_get(output, "outcome"));
    note = json_string_value(json_object_get(output, "note"));

    count.written = (size_t) json_integer_value(json_object_get(output,
                                                                "written"));
    count.kept = (size_t) json_integer_value(json_object_get(output, "kept"));

    for (i = 0; word != NULL && i < TF_INGEST_FAILED; i++) {
        if (strcmp(word, tf_ingest_words[i]) == 0) {
            tf_ingest_step_count(ij, step, source, (tf_ingest_t) i, &count,
                                 note == NULL ? "" : note);
        }
    }

    return 1;
}


tf_pg_status_t
tf_ingest_step_stored(void *ctx, tf_pg_t *pg, const char *step,
    const char *source, tf_ingest_t outcome, const tf_ingest_count_t *count,
    const char *note)
{
    char             *text;
    json_t           *output;
    tf_pg_status_t    rc;
    tf_ingest_job_t  *ij = ctx;

    output = json_pack("{s:s, s:s, s:I, s:I}", "source", source,
                       "outcome", tf_ingest_words[outcome],
                       "written", (json_int_t) count->written,
                       "kept", (json_int_t) count->kept);

    if (output != NULL && note[0]) {
        (void) json_object_set_new(output, "note", json_string(note));
    }

    text = output == NULL ? NULL : json_dumps(output, JSON_COMPACT);
    json_decref(output);

    rc = tf_ingest_step_write(ij, pg, step, text);
    free(text);

    return rc;
}


tf_pg_status_t
tf_ingest_step_write(tf_ingest_job_t *ij, tf_pg_t *pg, const char *step,
    const char *output)
{
    const char  *params[5];

    params[0] = ij->job->id;
    params[1] = step;
    params[2] = ij->of.tenant;
    params[3] = ij->of.owner;
    params[4] = output;

    /* an attempt that lost its lease may be here as well: one is enough */

    return tf_pg_query(pg, NULL, TF_STEPS_MS,
                       "INSERT INTO trifecta.job_step (job, step, tenant, "
                       "owner, output) VALUES ($1, $2, $3, $4, $5) "
                       "ON CONFLICT DO NOTHING", 5, params);
}


void
tf_ingest_step_done(void *ctx, const char *step, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *note)
{
    tf_pg_status_t    rc;
    tf_ingest_job_t  *ij = ctx;

    if (outcome == TF_INGEST_FAILED) {
        ij->failed = 1;
        return;
    }

    if (outcome == TF_INGEST_SAME) {
        note = "";
    }

    if (outcome != TF_INGEST_NEW && outcome != TF_INGEST_CHANGED) {
        rc = tf_pg_begin_as(ij->pg, ij->of.tenant, ij->of.owner, "[]");

        if (rc == TF_PG_OK) {
            rc = tf_ingest_step_stored(ij, ij->pg, step, source, outcome,
                                       count, note);

            if (rc == TF_PG_OK) {
                rc = tf_pg_commit(ij->pg);

            } else {
                tf_pg_rollback(ij->pg);
            }
        }

        if (rc != TF_PG_OK) {
            ij->failed = 1;
            return;
        }
    }

    tf_ingest_step_count(ij, step, source, outcome, count, note);
}


int
tf_ingest_result(tf_ingest_job_t *ij)
{
    size_t    read;
    json_t   *usage;
    tf_buf_t  body = TF_BUF_INIT;

    read = ij->count[TF_INGEST_NEW] + ij->count[TF_INGEST_CHANGED]
           + ij->count[TF_INGEST_SAME];

    tf_buf_printf(&body, "%zu files: %zu new, %zu changed, %zu unchanged",
                  read, ij->count[TF_INGEST_NEW], ij->count[TF_INGEST_CHANGED],
                  ij->count[TF_INGEST_SAME]);

    if (ij->remove) {
        tf_buf_printf(&body, ", %zu removed", ij->removed);
    }

    tf_buf_printf(&body, "; %zu chunks written, %zu kept; %zu skipped; "
                  "%zu of other formats\n", ij->chunks.written,
                  ij->chunks.kept, ij->skipped, ij->count[TF_INGEST_OTHER]);

    if (ij->told.len) {
        tf_buf_append(&body, ij->told.data, ij->told.len);
    }

    if (ij->skipped > TF_INGEST_TOLD) {
        tf_buf_printf(&body, "and %zu more were skipped\n",
                      ij->skipped - TF_INGEST_TOLD);
    }

    if (ij->removed > TF_INGEST_TOLD) {
        tf_buf_printf(&body, "and %zu more were removed\n",
                      ij->removed - TF_INGEST_TOLD);
    }

    usage = json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                      "s:I, s:I}",
                      "input_tokens", 0, "output_tokens", 0,
                      "total_tokens", 0, "files", (json_int_t) read,
                      "new", (json_int_t) ij->count[TF_INGEST_NEW],
                      "changed", (json_int_t) ij->count[TF_INGEST_CHANGED],
                      "unchanged", (json_int_t) ij->count[TF_INGEST_SAME],
                      "other", (json_int_t) ij->count[TF_INGEST_OTHER],
                      "skipped", (json_int_t) ij->skipped,
                      "removed", (json_int_t) ij->removed,
                      "chunks_written", (json_int_t) ij->chunks.written,
                      "chunks_kept", (json_int_t) ij->chunks.kept);

    ij->job->usage = usage == NULL ? NULL : json_dumps(usage, JSON_COMPACT);
    json_decref(usage);

    if (body.failed || ij->told.failed || ij->job->usage == NULL) {
        tf_buf_free(&body);
        return -1;
    }

    ij->job->body = body.data;

    return 0;
}
