#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llm/prompt.h"
#include "rag/talk.h"


/* What a question brings along of what was said before (talk.h). */

#define TF_TALK_MESSAGE_MAX  32768      /* bytes of one */

/*
 * The chain of "previous", newest first.  What stands in a request need not be
 * an id.
 */

static const char  tf_talk_chain_sql[] =
    "WITH RECURSIVE chain AS ("
    "SELECT 1 AS n, j.request, r.body FROM trifecta.job j "
    "JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE j.id = $4::uuid AND j.tenant = $1 AND j.owner = $2 "
    "AND j.state = 'succeeded' AND j.deleted IS NULL "
    "AND j.groups <@ $3::jsonb "
    "AND ($7::text[] IS NULL OR j.model = ANY ($7::text[])) "
    "UNION ALL "
    "SELECT c.n + 1, j.request, r.body FROM chain c "
    "JOIN trifecta.job j ON j.id = (CASE WHEN c.request->>'previous' ~ "
        "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' "
        "THEN c.request->>'previous' END)::uuid "
    "JOIN trifecta.job_result r ON r.job = j.id "
    "WHERE c.n < $5::int AND j.tenant = $1 AND j.owner = $2 "
    "AND j.state = 'succeeded' AND j.deleted IS NULL "
    "AND j.groups <@ $3::jsonb "
    "AND ($7::text[] IS NULL OR j.model = ANY ($7::text[]))) "
    "SELECT left(request->>'query', $6::int), left(body, $6::int), "
    "request->'turns' FROM chain WHERE request->>'query' IS NOT NULL "
    "OR request ? 'after' "
    "ORDER BY n";


/* The oldest turn goes when there is no room for another one. */

static tf_llm_turn_t *
tf_talk_another(tf_talk_t *talk)
{
    tf_llm_turn_t  *turn;

    if (talk->nturns == TF_TALK_TURNS) {
        talk->cut = 1;
        free(talk->turns[0].question);
        free(talk->turns[0].answer);
        talk->nturns--;
        memmove(talk->turns, talk->turns + 1,
                talk->nturns * sizeof(tf_llm_turn_t));
        memmove(talk->ids, talk->ids + 1,
                talk->nturns * sizeof(talk->ids[0]));
    }

    turn = &talk->turns[talk->nturns];
    memset(turn, 0, sizeof(tf_llm_turn_t));
    talk->ids[talk->nturns++][0] = '\0';

    return turn;
}


/*
 * A message of the user begins a turn, one of the model ends it; its marks
 * meant passages that are not here.
 */

static int
tf_talk_message(tf_talk_t *talk, int user, int marks, const char *text)
{
    char           *copy, *none;
    tf_llm_turn_t  *turn;

    turn = talk->nturns ? &talk->turns[talk->nturns - 1] : NULL;

    if (user || turn == NULL || turn->answer[0]) {
        turn = tf_talk_another(talk);
    }

    talk->cut |= strlen(text) > TF_TALK_MESSAGE_MAX;
    copy = tf_talk_text(text, TF_TALK_MESSAGE_MAX, marks);
    none = strdup("");

    if (turn->question == NULL) {
        turn->question = user ? copy : none;
        turn->answer = user ? none : copy;

    } else {
        free(turn->answer);
        turn->answer = copy;
        free(none);
    }

    return turn->question == NULL || turn->answer == NULL ? -1 : 0;
}


/* A function that was called before, or what came of it. */

static int
tf_talk_call(tf_talk_t *talk, const json_t *item, const char *content)
{
    int          rc;
    tf_buf_t     b = TF_BUF_INIT;
    const char  *name, *arguments;

    name = json_string_value(json_object_get(item, "name"));
    arguments = json_string_value(json_object_get(item, "arguments"));

    if (content != NULL) {
        tf_buf_printf(&b, "(returned: %s)", content);

    } else {
        tf_buf_printf(&b, "(called %s with %s)", name ? name : "",
                      arguments ? arguments : "");
    }

    rc = b.failed ? -1 : tf_talk_message(talk, 0, 1, b.data);
    tf_buf_free(&b);

    return rc;
}


static int
tf_talk_messages(tf_talk_t *talk, const json_t *turns)
{
    int            user;
    size_t         i;
    const char    *role, *text;
    const json_t  *message;

    for (i = 0; i < json_array_size(turns); i++) {
        message = json_array_get(turns, i);
        role = json_string_value(json_object_get(message, "role"));
        text = json_string_value(json_object_get(message, "content"));

        if (json_object_get(message, "id") != NULL) {
            if (tf_talk_call(talk, message, text) != 0) {
                return -1;
            }

            continue;
        }

        if (role == NULL || text == NULL) {
            continue;
        }

        user = strcmp(role, "user") == 0;

        if (tf_talk_message(talk, user, user, text) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
tf_talk_links(tf_talk_t *talk, PGresult *res)
{
    int      r, rc;
    json_t  *turns;

    for (r = PQntuples(res) - 1; r >= 0; r--) {
        turns = PQgetisnull(res, r, 2)
                ? NULL : json_loads(PQgetvalue(res, r, 2), 0, NULL);
        rc = tf_talk_messages(talk, turns);
        json_decref(turns);

        /* what goes on with results has no question: it ends that turn */

        if (rc == 0 && !PQgetisnull(res, r, 0)) {
            rc = tf_talk_message(talk, 1, 1, PQgetvalue(res, r, 0));
        }

        if (rc != 0
            || tf_talk_message(talk, 0, 0, PQgetvalue(res, r, 1)) != 0)
        {
            return -1;
        }
    }

    return 0;
}


static tf_pg_status_t
tf_talk_chain(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk)
{
    char             turns[16], max[16];
    tf_buf_t         names = TF_BUF_INIT;
    PGresult        *res;
    const char      *params[7];
    tf_pg_status_t   rc;

    (void) snprintf(turns, sizeof(turns), "%d", TF_TALK_TURNS);
    (void) snprintf(max, sizeof(max), "%d", TF_TALK_MESSAGE_MAX + 1);

    params[0] = request->tenant;
    params[1] = request->owner;
    params[2] = request->groups;
    params[3] = request->previous;
    params[4] = turns;
    params[5] = max;
    params[6] = NULL;

    if (model->only != NULL) {
        tf_talk_models(request->models, model, &names);
        params[6] = names.data;
    }

    rc = names.failed ? tf_talk_no_memory(pg)
                      : tf_pg_begin_as(pg, request->tenant, request->owner,
                                       request->groups);

    if (rc == TF_PG_OK) {
        rc = tf_pg_query(pg, &res, 0, tf_talk_chain_sql, 7, params);
    }

    tf_buf_free(&names);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    if (tf_talk_links(talk, res) != 0) {
        rc = tf_talk_no_memory(pg);
    }

    PQclear(res);

    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    return tf_pg_commit(pg);
}


/* The newest that fit are told. */

static void
tf_talk_newest(const tf_llm_model_t *model, tf_talk_t *talk)
{
    size_t  room, size;

    room = (size_t) (model->context - model->max_output)
           * TF_PROMPT_TOKEN_BYTES / 2;

    if (room > TF_TALK_TOLD_MAX) {
        room = TF_TALK_TOLD_MAX;
    }

    for (talk->first = talk->nturns; talk->first > 0; talk->first--) {
        size = strlen(talk->turns[talk->first - 1].question)
               + strlen(talk->turns[talk->first - 1].answer);

        if (size > room) {
            talk->cut = 1;
            return;
        }

        room -= size;
    }
}


tf_pg_status_t
tf_talk_tell(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk)
{
    tf_pg_status_t  rc;

    if (model->by->wire == NULL) {
        return TF_PG_OK;
    }

    rc = request->previous ? tf_talk_chain(pg, request, model, talk) : TF_PG_OK;

    if (rc == TF_PG_OK && tf_talk_messages(talk, request->turns) != 0) {
        rc = tf_talk_no_memory(pg);
    }

    talk->told = 1;

    if (rc == TF_PG_OK) {
        tf_talk_newest(model, talk);
    }

    return rc;
}
