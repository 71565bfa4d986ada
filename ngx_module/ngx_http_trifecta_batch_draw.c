#include "ngx_http_trifecta_batch.h"


/* A line of the files of a batch's answers. */

static void
ngx_http_trifecta_batch_hex(ngx_http_trifecta_json_t *j, const char *uuid)
{
    for ( /* void */ ; *uuid; uuid++) {
        if (*uuid != '-') {
            ngx_http_trifecta_json_raw(j, uuid, 1);
        }
    }
}


/* {"code", "message", "param"}: what OpenAI says where there is no answer. */

static void
ngx_http_trifecta_batch_draw_error(ngx_http_trifecta_json_t *j,
    const char *code, json_t *message, json_t *param)
{
    ngx_http_trifecta_json_lit(j, ",\"error\":{\"code\":");
    ngx_http_trifecta_json_string(j, code, ngx_strlen(code));
    ngx_http_trifecta_openai_member(j, "message", message, "\"\"");
    ngx_http_trifecta_openai_member(j, "param", param, "null");
    ngx_http_trifecta_json_lit(j, "}");
}


/* A line that has an error of its own: it was refused, or did not begin. */

static void
ngx_http_trifecta_batch_draw_refused(PGresult *res, int row,
    ngx_http_trifecta_json_t *j)
{
    json_t      *error;
    const char  *code;

    error = json_loadb(PQgetvalue(res, row,
                                  NGX_HTTP_TRIFECTA_BATCH_COL_ERROR),
                       (size_t) PQgetlength(res, row,
                                          NGX_HTTP_TRIFECTA_BATCH_COL_ERROR),
                       0, NULL);

    code = json_string_value(json_object_get(error, "code"));

    if (code == NULL) {
        code = "internal_error";
    }

    if (PQgetisnull(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_CODE)) {
        ngx_http_trifecta_json_lit(j, ",\"response\":null");

    } else {
        ngx_http_trifecta_json_printf(j, ",\"response\":{\"status_code\":%s,"
                                      "\"request_id\":null,"
                                      "\"body\":{\"error\":{\"code\":",
                            PQgetvalue(res, row,
                                       NGX_HTTP_TRIFECTA_BATCH_COL_CODE));
        ngx_http_trifecta_json_string(j, code, ngx_strlen(code));
        ngx_http_trifecta_openai_member(j, "message",
                                        json_object_get(error, "message"),
                                        "\"\"");
        ngx_http_trifecta_openai_member(j, "param",
                                        json_object_get(error, "param"),
                                        "null");
        ngx_http_trifecta_json_lit(j, ",\"type\":\"invalid_request_error\"}}}");
    }

    ngx_http_trifecta_batch_draw_error(j, code,
                                       json_object_get(error, "message"),
                                       json_object_get(error, "param"));
    json_decref(error);
}


static void
ngx_http_trifecta_batch_draw_gone(ngx_http_trifecta_json_t *j)
{
    json_t  *message;

    message = json_string("the answer was deleted, or is not kept any more");

    ngx_http_trifecta_json_lit(j, ",\"response\":null");
    ngx_http_trifecta_batch_draw_error(j, "job_deleted", message, NULL);

    json_decref(message);
}


/* What the endpoint would have answered, drawn by what draws it there. */

static ngx_int_t
ngx_http_trifecta_batch_draw_job(ngx_http_trifecta_standin_t *standin,
    PGresult *res, int row, ngx_http_trifecta_json_t *j)
{
    json_t                                    *message, *param;
    ngx_int_t                                  rc;
    ngx_str_t                                  request;
    ngx_http_request_t                        *r;
    ngx_http_trifecta_json_t                   body;
    ngx_http_trifecta_caught_t                *caught;
    ngx_http_trifecta_openai_job_t             job;
    const ngx_http_trifecta_batch_endpoint_t  *e;

    if (ngx_http_trifecta_standin_next(standin,
                                       PQgetvalue(res, row,
                                           NGX_HTTP_TRIFECTA_BATCH_COL_JOB))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    r = &standin->request;
    caught = &standin->caught;

    e = ngx_http_trifecta_batch_endpoint(
                    (u_char *) PQgetvalue(res, row,
                                          NGX_HTTP_TRIFECTA_BATCH_COL_WHERE),
                    (size_t) PQgetlength(res, row,
                                         NGX_HTTP_TRIFECTA_BATCH_COL_WHERE));
    if (e == NULL) {
        return NGX_ERROR;
    }

    r->uri = e->path;
    standin->ctx.request_id.data = (u_char *)
                    PQgetvalue(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_ASKED);
    standin->ctx.request_id.len = (size_t)
                    PQgetlength(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_ASKED);

    request.data = (u_char *) PQgetvalue(res, row,
                                         NGX_HTTP_TRIFECTA_ROW_REQUEST);
    request.len = (size_t) PQgetlength(res, row,
                                       NGX_HTTP_TRIFECTA_ROW_REQUEST);

    ngx_http_trifecta_openai_row(r, res, row, &request, &job);

    ngx_http_trifecta_json_init(&body, r->pool, 2048);

    switch (e->shape) {

    case NGX_HTTP_TRIFECTA_OPENAI_RESPONSE:
        ngx_http_trifecta_openai_response(&job, &body);
        rc = NGX_DECLINED;
        break;

    case NGX_HTTP_TRIFECTA_OPENAI_CHAT:
        rc = ngx_http_trifecta_openai_chat(&job, &body);
        break;

    default:
        rc = ngx_http_trifecta_openai_vectors(&job, &body);
        break;
    }

    json_decref(job.payload);

    if (body.failed || (rc != NGX_DECLINED && caught->status == 0)) {
        return NGX_ERROR;
    }

    ngx_http_trifecta_json_printf(j, ",\"response\":{\"status_code\":%ui,"
                                  "\"request_id\":",
                                  rc == NGX_DECLINED ? (ngx_uint_t) NGX_HTTP_OK
                                                     : caught->status);
    ngx_http_trifecta_json_str(j, &standin->ctx.request_id);
    ngx_http_trifecta_json_lit(j, ",\"body\":");

    if (rc == NGX_DECLINED) {
        ngx_http_trifecta_json_raw(j, body.start, body.last - body.start);
        ngx_http_trifecta_json_lit(j, "}");

        if (PQgetvalue(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_OK)[0] == 't') {
            ngx_http_trifecta_json_lit(j, ",\"error\":null");
            return NGX_OK;
        }

        param = ngx_http_trifecta_openai_column(&job,
                                                NGX_HTTP_TRIFECTA_ROW_ERROR);
        message = json_object_get(param, "message");
        ngx_http_trifecta_batch_draw_error(j,
                             json_is_string(json_object_get(param, "code"))
                             ? json_string_value(json_object_get(param,
                                                                 "code"))
                             : ngx_http_trifecta_state_word(job.state),
                             message, NULL);
        json_decref(param);

        return NGX_OK;
    }

    ngx_http_trifecta_json_raw(j, caught->body.data, caught->body.len);
    ngx_http_trifecta_json_lit(j, "}");

    message = json_stringn((char *) caught->message.data,
                           caught->message.len);
    param = caught->param.len ? json_stringn((char *) caught->param.data,
                                             caught->param.len) : NULL;

    ngx_http_trifecta_batch_draw_error(j, caught->code, message, param);

    json_decref(message);
    json_decref(param);

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_batch_draw(ngx_http_trifecta_standin_t *standin,
    ngx_str_t *batch, PGresult *res, int row, ngx_http_trifecta_json_t *j)
{
    ngx_int_t  rc;

    ngx_http_trifecta_json_lit(j, "{\"id\":\"batch_req_");

    if (PQgetisnull(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_JOB)) {

        /* no job: the batch, and the line instead of what is random in it */

        ngx_http_trifecta_json_printf(j, "%08xD",
                                      (uint32_t) ngx_atoi((u_char *)
                                      PQgetvalue(res, row,
                                             NGX_HTTP_TRIFECTA_BATCH_COL_N),
                                      (size_t) PQgetlength(res, row,
                                           NGX_HTTP_TRIFECTA_BATCH_COL_N)));
        ngx_http_trifecta_batch_hex(j, (char *) batch->data + 9);

    } else {
        ngx_http_trifecta_batch_hex(j, PQgetvalue(res, row,
                                           NGX_HTTP_TRIFECTA_BATCH_COL_JOB));
    }

    ngx_http_trifecta_json_lit(j, "\",\"custom_id\":");
    ngx_http_trifecta_json_string(j, PQgetvalue(res, row,
                                          NGX_HTTP_TRIFECTA_BATCH_COL_ID),
                                  (size_t) PQgetlength(res, row,
                                          NGX_HTTP_TRIFECTA_BATCH_COL_ID));
    rc = NGX_OK;

    if (!PQgetisnull(res, row, NGX_HTTP_TRIFECTA_BATCH_COL_ERROR)) {
        ngx_http_trifecta_batch_draw_refused(res, row, j);

    } else if (PQgetisnull(res, row, 0)
               || PQgetvalue(res, row, NGX_HTTP_TRIFECTA_ROW_DELETED)[0]
                  == 't')
    {
        ngx_http_trifecta_batch_draw_gone(j);

    } else {
        rc = ngx_http_trifecta_batch_draw_job(standin, res, row, j);
    }

    ngx_http_trifecta_json_lit(j, "}\n");

    return j->failed ? NGX_ERROR : rc;
}
