#include "rag/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/prompt.h"
#include "rag/array.h"


/* The conversation is there, and says what may be read of it. */

static const char  tf_talk_open_sql[] =
    "INSERT INTO trifecta.conversation AS c (tenant, owner, id) "
    "VALUES ($1, $2, $3) ON CONFLICT (tenant, owner, id) DO UPDATE "
    "SET used = greatest(c.used, now()) RETURNING c.version, c.after, "
    "CASE WHEN c.groups <@ $4::jsonb THEN c.summary END, "
    "CASE WHEN c.groups <@ $4::jsonb AND c.upto < $5::uuid THEN c.upto END";

static const char  tf_talk_turns_sql[] =
    "SELECT j.id, left(j.request->>'query', $7::int), "
    "left(r.body, 2 * $7::int) "
    "FROM trifecta.job j JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE j.tenant = $1 AND j.owner = $2 AND j.conversation = $3 "
    "AND j.id < $5::uuid AND j.id > $6::uuid AND j.state = 'succeeded' "
    "AND j.deleted IS NULL AND j.groups <@ $4::jsonb "
    "AND j.request->>'query' IS NOT NULL "
    "AND ($9::text[] IS NULL OR j.model = ANY ($9::text[])) "
    "ORDER BY j.id DESC LIMIT $8";

static const char  tf_talk_keep_sql[] =
    "UPDATE trifecta.conversation SET summary = $4, upto = $5::uuid, "
    "groups = $6::jsonb WHERE tenant = $1 AND owner = $2 AND id = $3 "
    "AND version = $7::bigint "
    "AND (upto IS NULL OR upto < $5::uuid OR NOT groups <@ $6::jsonb)";


char *
tf_talk_text(const char *text, size_t max, int marks)
{
    char        *out;
    size_t       n, digits;
    const char  *p;

    out = malloc(strnlen(text, max) + 1);
    if (out == NULL) {
        return NULL;
    }

    n = 0;

    for (p = text; *p != '\0' && n < max; p++) {
        digits = *p == '[' && !marks ? strspn(p + 1, "0123456789") : 0;

        if (digits > 0 && p[digits + 1] == ']') {
            p += digits + 1;
            continue;
        }

        out[n++] = *p;
    }

    if (*p != '\0') {
        while (n > 0 && ((unsigned char) *p & 0xc0) == 0x80) {
            p--;
            n--;
        }
    }

    out[n] = '\0';

    return out;
}


tf_pg_status_t
tf_talk_no_memory(tf_pg_t *pg)
{
    if (pg != NULL) {
        pg->sqlstate[0] = '\0';
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
    }

    return TF_PG_ERROR;
}


/* The rows come newest first. */

static tf_pg_status_t
tf_talk_rows(tf_pg_t *pg, PGresult *res, tf_talk_t *talk)
{
    int             r;
    size_t          i;
    tf_llm_turn_t  *turn;

    talk->nturns = (size_t) PQntuples(res);

    for (r = 0; r < PQntuples(res); r++) {
        i = talk->nturns - 1 - (size_t) r;
        turn = &talk->turns[i];

        (void) snprintf(talk->ids[i], sizeof(talk->ids[i]), "%s",
                        PQgetvalue(res, r, 0));
        turn->question = tf_talk_text(PQgetvalue(res, r, 1),
                                      TF_TALK_QUESTION_MAX, 0);
        turn->answer = tf_talk_text(PQgetvalue(res, r, 2),
                                    TF_TALK_ANSWER_MAX, 0);

        if (turn->question == NULL || turn->answer == NULL) {
            return tf_talk_no_memory(pg);
        }
    }

    return TF_PG_OK;
}


/* Which turns are told as they are: all, or the newest half of the budget. */

static void
tf_talk_fit(const tf_llm_model_t *model, tf_talk_t *talk)
{
    size_t  i, all, room, size;

    room = (size_t) model->history * TF_PROMPT_TOKEN_BYTES;

    if (talk->summary.len > room / 2) {
        tf_buf_reset(&talk->summary);
    }

    all = talk->summary.len;

    for (i = 0; i < talk->nturns; i++) {
        all += strlen(talk->turns[i].question) + strlen(talk->turns[i].answer);
    }

    talk->first = 0;

    if (all <= room) {
        return;
    }

    talk->first = talk->nturns;
    all = 0;

    while (talk->first > 0) {
        size = strlen(talk->turns[talk->first - 1].question)
               + strlen(talk->turns[talk->first - 1].answer);

        if (all + size > room / 2) {
            return;
        }

        all += size;
        talk->first--;
    }
}


void
tf_talk_models(const tf_llm_models_t *models, const tf_llm_model_t *model,
    tf_buf_t *names)
{
    size_t  i;

    for (i = 0; i < models->n; i++) {
        if (models->list[i].is == TF_LLM_CHAT
            && tf_llm_models_within(&models->list[i], model))
        {
            tf_array_text(names, models->list[i].name,
                          strlen(models->list[i].name));
        }
    }

    tf_array_close(names);
}


tf_pg_status_t
tf_talk_open(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk)
{
    char             since[40], cut[16], max[16];
    tf_buf_t         names = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[9], *after, *upto;
    tf_pg_status_t   rc;

    (void) snprintf(cut, sizeof(cut), "%d", TF_TALK_QUESTION_MAX);
    (void) snprintf(max, sizeof(max), "%d", TF_TALK_TURNS);

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = request->conversation;
    params[3] = request->groups;
    params[4] = request->job;
    params[5] = since;
    params[6] = cut;
    params[7] = max;
    params[8] = NULL;

    if (model->only != NULL) {
        tf_talk_models(request->models, model, &names);
        params[8] = names.data;
    }

    rc = names.failed ? tf_talk_no_memory(pg)
                      : tf_pg_begin_as(pg, request->tenant, request->owner,
                                       request->groups);
    if (rc != TF_PG_OK) {
        tf_buf_free(&names);
        return rc;
    }

    rc = tf_pg_query(pg, &res, 0, tf_talk_open_sql, 5, params);
    if (rc != TF_PG_OK) {
        goto failed;
    }

    /* the summary tells of all up to there; ids compare as they are written */

    after = PQgetvalue(res, 0, 1);
    upto = model->only == NULL ? PQgetvalue(res, 0, 3) : "";

    (void) snprintf(talk->version, sizeof(talk->version), "%s",
                    PQgetvalue(res, 0, 0));
    (void) snprintf(since, sizeof(since), "%s",
                    strcmp(after, upto) > 0 ? after
                    : upto[0] ? upto : "00000000-0000-0000-0000-000000000000");

    if (upto[0] && strcmp(upto, after) > 0) {
        tf_buf_puts(&talk->summary, PQgetvalue(res, 0, 2));
    }

    PQclear(res);

    if (model->by->wire != NULL && model->history > 0) {
        rc = tf_pg_query(pg, &res, 0, tf_talk_turns_sql, 9, params);
        if (rc != TF_PG_OK) {
            goto failed;
        }

        rc = tf_talk_rows(pg, res, talk);
        PQclear(res);

        if (rc == TF_PG_OK && talk->summary.failed) {
            rc = tf_talk_no_memory(pg);
        }

        if (rc != TF_PG_OK) {
            goto failed;
        }

        tf_talk_fit(model, talk);

    } else {
        tf_buf_reset(&talk->summary);
    }

    tf_buf_free(&names);

    return tf_pg_commit(pg);

failed:

    tf_buf_free(&names);
    tf_pg_rollback(pg);

    return rc;
}


int
tf_talk_empty(const tf_talk_t *talk)
{
    return talk->nturns == 0 && talk->summary.len == 0;
}


tf_pg_status_t
tf_talk_keep(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_talk_t *talk)
{
    const char      *params[7];
    tf_pg_status_t   rc;

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = request->conversation;
    params[3] = talk->summary.data;
    params[4] = talk->ids[talk->first - 1];
    params[5] = request->groups;
    params[6] = talk->version;

    rc = tf_pg_begin_as(pg, request->tenant, request->owner, request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, NULL, 0, tf_talk_keep_sql, 7, params);
    }

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg);
}


void
tf_talk_free(tf_talk_t *talk)
{
    size_t  i;

    for (i = 0; i < talk->nturns; i++) {
        free(talk->turns[i].question);
        free(talk->turns[i].answer);
    }

    tf_buf_free(&talk->summary);
    tf_buf_free(&talk->restated);
}
