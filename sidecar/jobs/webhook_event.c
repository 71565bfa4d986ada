#include "jobs/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include <trifecta/id.h>


enum {
    TF_ROW_ID,
    TF_ROW_STATE,
    TF_ROW_MODEL,
    TF_ROW_ACCEPTED,
    TF_ROW_FINISHED,
    TF_ROW_ERROR,
    TF_ROW_USAGE,
    TF_ROW_BODY,
    TF_ROW_CITATIONS,
    TF_ROW_CONVERSATION,
    TF_ROW_URL,
    TF_ROW_METADATA,
    TF_ROW_SHAPE,
    TF_ROW_AGE
};

/* The columns that a GET is answered from, and what the request says. */

static const char  tf_webhook_row_sql[] =
    "SELECT j.id, j.state, j.model, "
    "(extract(epoch FROM j.accepted) * 1000)::bigint, "
    "(extract(epoch FROM j.finished) * 1000)::bigint, "
    "j.error::text, j.usage::text, r.body, r.citations::text, "
    "j.conversation, j.request->>'webhook_url', "
    "(j.request->'metadata')::text, j.request->'openai'->>'shape', "
    "(extract(epoch FROM clock_timestamp() - j.finished) * 1000)::bigint "
    "FROM trifecta.job AS j "
    "LEFT JOIN trifecta.job_result AS r ON r.job = j.id "
    "WHERE j.id = $1 AND j.tenant = $2 AND j.owner = $3 "
    "AND j.deleted IS NULL AND j.kind <> 'webhook' "
    "AND j.state NOT IN ('queued', 'running')";


tf_pg_status_t
tf_webhook_row(tf_pg_t *pg, const char *tenant, const char *owner,
    const char *job, tf_webhook_row_t *row)
{
    const char      *params[3];
    tf_pg_status_t   rc;

    memset(row, 0, sizeof(tf_webhook_row_t));
    params[0] = job;
    params[1] = tenant;
    params[2] = owner;

    rc = tf_pg_query(pg, &row->res, 0, tf_webhook_row_sql, 3, params);

    if (rc == TF_PG_OK && PQntuples(row->res) == 1
        && !PQgetisnull(row->res, 0, TF_ROW_URL))
    {
        row->url = PQgetvalue(row->res, 0, TF_ROW_URL);
        row->age = strtoll(PQgetvalue(row->res, 0, TF_ROW_AGE), NULL, 10);
    }

    return rc;
}


/* The 32 digits of an id behind a prefix. */

static void
tf_webhook_hex(char *out, const char *prefix, const char *id)
{
    out = stpcpy(out, prefix);

    for ( /* void */ ; *id; id++) {
        if (*id != '-') {
            *out++ = *id;
        }
    }

    *out = '\0';
}


void
tf_webhook_id(const char *job, char *text)
{
    tf_webhook_hex(text, "msg_", job);
}


static void
tf_webhook_string(tf_buf_t *out, const char *name, const char *text)
{
    char    *quoted;
    json_t  *value;

    value = json_string(text);
    quoted = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_decref(value);

    if (quoted == NULL) {
        out->failed = 1;
        return;
    }

    tf_buf_printf(out, "\"%s\":", name);
    tf_buf_puts(out, quoted);
    free(quoted);
}


/* A column that is JSON, if it is there. */

static void
tf_webhook_json(tf_buf_t *out, const char *name, PGresult *res, int column)
{
    if (!PQgetisnull(res, 0, column)) {
        tf_buf_printf(out, ",\"%s\":", name);
        tf_buf_puts(out, PQgetvalue(res, 0, column));
    }
}


static void
tf_webhook_time(tf_buf_t *out, const char *name, const char *ms)
{
    char       text[32];
    time_t     s;
    int64_t    n;
    struct tm  tm;

    n = strtoll(ms, NULL, 10);
    s = (time_t) (n / 1000);

    (void) gmtime_r(&s, &tm);
    (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    tf_buf_printf(out, ",\"%s\":\"%s.%03dZ\"", name, text, (int) (n % 1000));
}


/* The same as GET /api/v1/query/{id} answers. */

static void
tf_webhook_plain(PGresult *res, tf_buf_t *out)
{
    tf_buf_puts(out, "{");
    tf_webhook_string(out, "query_id", PQgetvalue(res, 0, TF_ROW_ID));
    tf_buf_puts(out, ",");
    tf_webhook_string(out, "status", PQgetvalue(res, 0, TF_ROW_STATE));
    tf_buf_puts(out, ",");

    if (PQgetisnull(res, 0, TF_ROW_BODY)) {
        tf_buf_puts(out, "\"response\":null");

    } else {
        tf_webhook_string(out, "response", PQgetvalue(res, 0, TF_ROW_BODY));
    }

    tf_webhook_json(out, "error", res, TF_ROW_ERROR);
    tf_buf_puts(out, ",");
    tf_webhook_string(out, "model", PQgetvalue(res, 0, TF_ROW_MODEL));

    if (!PQgetisnull(res, 0, TF_ROW_CONVERSATION)) {
        tf_buf_puts(out, ",");
        tf_webhook_string(out, "conversation_id",
                          PQgetvalue(res, 0, TF_ROW_CONVERSATION));
    }

    tf_webhook_time(out, "created_at", PQgetvalue(res, 0, TF_ROW_ACCEPTED));
    tf_webhook_time(out, "completed_at", PQgetvalue(res, 0, TF_ROW_FINISHED));
    tf_webhook_json(out, "usage", res, TF_ROW_USAGE);
    tf_webhook_json(out, "citations", res, TF_ROW_CITATIONS);
    tf_webhook_json(out, "metadata", res, TF_ROW_METADATA);
    tf_buf_puts(out, "}");
}


/*
 * The two shapes.  A program of OpenAI's client fetches what became of its
 * response: the event has only its id.
 */

typedef struct {
    const char  *state;
    const char  *response;
} tf_webhook_type_t;

static const tf_webhook_type_t  tf_webhook_types[] = {
    { "succeeded", "response.completed" },
    { "cancelled", "response.cancelled" },
    { "failed", "response.failed" },
    { "dead", "response.failed" }
};


static void
tf_webhook_response(PGresult *res, tf_buf_t *out)
{
    char         id[64];
    size_t       i;
    const char  *job, *state;

    job = PQgetvalue(res, 0, TF_ROW_ID);
    state = PQgetvalue(res, 0, TF_ROW_STATE);

    for (i = 0; i < sizeof(tf_webhook_types) / sizeof(tf_webhook_types[0]) - 1;
         i++)
    {
        if (strcmp(tf_webhook_types[i].state, state) == 0) {
            break;
        }
    }

    tf_webhook_hex(id, "evt_", job);
    tf_buf_printf(out, "{\"id\":\"%s\",\"object\":\"event\","
                  "\"created_at\":%lld,\"type\":\"%s\",", id,
                  strtoll(PQgetvalue(res, 0, TF_ROW_FINISHED), NULL, 10)
                  / 1000, tf_webhook_types[i].response);

    tf_webhook_hex(id, "resp_", job);
    tf_buf_printf(out, "\"data\":{\"id\":\"%s\"}}", id);
}


void
tf_webhook_event(const tf_webhook_row_t *row, tf_buf_t *out)
{
    PGresult  *res;

    res = row->res;

    if (strcmp(PQgetvalue(res, 0, TF_ROW_SHAPE), "response") == 0) {
        tf_webhook_response(res, out);
        return;
    }

    tf_buf_printf(out, "{\"type\":\"job.%s\"",
                  PQgetvalue(res, 0, TF_ROW_STATE));
    tf_webhook_time(out, "timestamp", PQgetvalue(res, 0, TF_ROW_FINISHED));
    tf_buf_puts(out, ",\"data\":");
    tf_webhook_plain(res, out);
    tf_buf_puts(out, "}");
}
