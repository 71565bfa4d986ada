#include "rag/goes_on.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rag/talk.h"


/* From the newest job to the one that has a question. */

static const char  tf_goes_on_sql[] =
    "WITH RECURSIVE chain AS ("
    "SELECT 1 AS n, j.request, r.body, r.tool_calls FROM trifecta.job j "
    "JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE j.id = $4::uuid AND j.tenant = $1 AND j.owner = $2 "
    "AND j.state = 'succeeded' AND j.deleted IS NULL "
    "AND j.groups <@ $3::jsonb "
    "AND ($6::text[] IS NULL OR j.model = ANY ($6::text[])) "
    "UNION ALL "
    "SELECT c.n + 1, j.request, r.body, r.tool_calls FROM chain c "
    "JOIN trifecta.job j ON j.id = (CASE WHEN c.request->>'previous' ~ "
        "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' "
        "THEN c.request->>'previous' END)::uuid "
    "JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE c.n < $5::int AND NOT c.request ? 'query' "
    "AND j.tenant = $1 AND j.owner = $2 "
    "AND j.state = 'succeeded' AND j.deleted IS NULL "
    "AND j.groups <@ $3::jsonb "
    "AND ($6::text[] IS NULL OR j.model = ANY ($6::text[]))) "
    "SELECT request->>'query', request->'turns', request->>'previous', "
    "request->'after', body, tool_calls FROM chain ORDER BY n";


static json_t *
tf_goes_on_json(PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column)
           ? NULL : json_loads(PQgetvalue(res, row, column), 0, NULL);
}


/* What the answer of a job has said and called. */

static int
tf_goes_on_answer(json_t *after, const char *body, const json_t *calls)
{
    int            rc;
    size_t         i;
    const json_t  *call;

    rc = 0;

    if (body[0]) {
        rc |= json_array_append_new(after, json_pack("{s:s, s:s}", "role",
                                                     "assistant", "content",
                                                     body));
    }

    for (i = 0; i < json_array_size(calls); i++) {
        call = json_array_get(calls, i);

        rc |= json_array_append_new(after,
                  json_pack("{s:s, s:O, s:O, s:O}", "role", "call",
                            "id", json_object_get(call, "id"),
                            "name", json_object_get(call, "name"),
                            "arguments", json_object_get(call, "arguments")));
    }

    return rc;
}


/* Each call has its result, behind it; NULL, or why not. */

static const char *
tf_goes_on_fits(const json_t *after)
{
    size_t         i;
    json_t        *open;
    const char    *id, *role, *why;
    const json_t  *item;

    open = json_object();
    why = NULL;

    for (i = 0; i < json_array_size(after) && why == NULL; i++) {
        item = json_array_get(after, i);
        role = json_string_value(json_object_get(item, "role"));
        id = json_string_value(json_object_get(item, "id"));

        if (role == NULL || id == NULL) {
            continue;
        }

        if (strcmp(role, "call") == 0) {
            (void) json_object_set_new(open, id, json_true());

        } else if (json_object_del(open, id) != 0) {
            why = "A result is of no call of the previous response.";
        }
    }

    if (why == NULL && json_object_size(open)) {
        why = "A call of the previous response has no result.";
    }

    json_decref(open);

    return why;
}


static int
tf_goes_on_links(const tf_answer_request_t *request, tf_goes_on_t *g,
    PGresult *res)
{
    int      r, rc;
    json_t  *part;

    r = PQntuples(res) - 1;

    if (r < 0 || PQgetisnull(res, r, 0)) {
        g->why = "The response that this goes on with is not there any more: "
                 "send the question and what was called, too.";
        return 0;
    }

    g->question = strdup(PQgetvalue(res, r, 0));
    g->turns = tf_goes_on_json(res, r, 1);
    g->after = json_array();

    if (!PQgetisnull(res, r, 2)) {
        g->previous = strdup(PQgetvalue(res, r, 2));
    }

    if (g->question == NULL || g->after == NULL
        || (g->previous == NULL && !PQgetisnull(res, r, 2)))
    {
        return -1;
    }

    for (rc = 0; r >= 0; r--) {
        part = tf_goes_on_json(res, r, 3);
        rc |= part ? json_array_extend(g->after, part) : 0;
        json_decref(part);

        part = tf_goes_on_json(res, r, 5);
        rc |= tf_goes_on_answer(g->after, PQgetvalue(res, r, 4), part);
        json_decref(part);
    }

    rc |= json_array_extend(g->after, (json_t *) request->after);

    g->why = tf_goes_on_fits(g->after);

    return rc;
}


static tf_pg_status_t
tf_goes_on_find(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, PGresult **res)
{
    char             max[16];
    tf_buf_t         names = TF_BUF_INIT;
    const char      *params[6];
    tf_pg_status_t   rc;

    (void) snprintf(max, sizeof(max), "%d", TF_GOES_ON_MAX);

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = request->groups;
    params[3] = request->previous;
    params[4] = max;
    params[5] = NULL;

    if (model->only != NULL) {
        tf_talk_models(request->models, model, &names);
        params[5] = names.data;
    }

    rc = names.failed ? tf_talk_no_memory(pg)
                      : tf_pg_begin_as(pg, request->tenant, request->owner,
                                       request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, res, 0, tf_goes_on_sql, 6, params);
    }

    tf_buf_free(&names);

    return rc;
}


tf_pg_status_t
tf_rag_goes_on(tf_pg_t *pg, tf_answer_request_t *request, tf_goes_on_t *g)
{
    PGresult              *res;
    tf_pg_status_t         rc;
    const tf_llm_model_t  *model;

    model = tf_llm_models_find(request->models, request->model);

    if (model == NULL) {
        g->why = "This worker does not have the model.";
        return TF_PG_OK;
    }

    rc = tf_goes_on_find(pg, request, model, &res);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    if (tf_goes_on_links(request, g, res) != 0) {
        rc = tf_talk_no_memory(pg);
    }

    PQclear(res);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    request->question = g->question;
    request->previous = g->previous;
    request->turns = g->turns;
    request->after = g->after;

    return tf_pg_commit(pg);
}


void
tf_rag_goes_on_free(tf_goes_on_t *g)
{
    free(g->question);
    free(g->previous);
    json_decref(g->turns);
    json_decref(g->after);
}
