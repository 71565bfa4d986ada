#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_models.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_reply.h"

#include <math.h>


/*
 * POST /v1/embeddings: vectors of texts, by a model of kind embedding.
 *
 * Which of those there are only the sidecar knows.  The body of the job's
 * result is a JSON array of strings, each a vector as 32 bit numbers, least
 * byte first, in base64: what the official clients ask for; who wants numbers
 * gets them from that, but no more than TF_VECTORS_FLOATS: to draw a million
 * would keep a worker from all others for a third of a second.
 *
 * Nobody reads such a job a second time, so it is deleted when its answer is
 * out, unless an Idempotency-Key says that somebody may.
 */

typedef struct {
    json_t      *root;
    json_t      *texts;         /* owned */
    json_t      *dimensions;    /* or NULL */
    ngx_str_t    model;
    ngx_uint_t   base64;
} ngx_http_trifecta_vectors_t;


static const ngx_http_trifecta_face_t  ngx_http_trifecta_face_embeddings = {
    NGX_HTTP_TRIFECTA_KIND_VECTORS,
    "POST /v1/embeddings",
    ngx_http_trifecta_job_path,
    ngx_http_trifecta_openai_accepted,
    ngx_http_trifecta_openai_before
};


static ngx_int_t
ngx_http_trifecta_vectors_bad(ngx_http_request_t *r, const char *name,
    const char *why)
{
    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, name, "\"%s\" %s",
                                   name, why);
}


static ngx_int_t
ngx_http_trifecta_vectors_input(ngx_http_request_t *r,
    ngx_http_trifecta_vectors_t *v)
{
    size_t   i, bytes;
    json_t  *input, *text;

    input = json_object_get(v->root, "input");

    if (input == NULL) {
        return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, "input",
                                       "\"input\" is missing");
    }

    v->texts = json_is_string(input) ? json_pack("[O]", input)
                                     : json_incref(input);

    if (json_array_size(v->texts) == 0
        || json_array_size(v->texts) > TF_VECTORS_TEXTS)
    {
        return ngx_http_trifecta_vectors_bad(r, "input", "must be a string, "
                                             "or an array of 1 to 2048 "
                                             "strings");
    }

    bytes = 0;

    json_array_foreach(v->texts, i, text) {

        if (!json_is_string(text) || json_string_length(text) == 0) {
            return ngx_http_trifecta_vectors_bad(r, "input", "must have "
                                                 "strings that are not empty; "
                                                 "tokens are not supported");
        }

        bytes += json_string_length(text);
    }

    if (bytes > NGX_HTTP_TRIFECTA_OPENAI_TEXT_MAX) {
        return ngx_http_trifecta_vectors_bad(r, "input", "has more than "
                                             "1048576 bytes of text");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_vectors_parse(ngx_http_request_t *r, ngx_str_t *body,
    ngx_http_trifecta_vectors_t *v)
{
    json_t                         *value;
    ngx_int_t                       rc;
    const char                     *err, *word;
    ngx_http_trifecta_main_conf_t  *mcf;

    err = NULL;

    if (v->root == NULL) {
        v->root = ngx_http_trifecta_json_parse(body->data, body->len, &err);
    }

    if (v->root == NULL) {
        if (err == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_error(r, TF_E_INVALID_JSON, NULL, "%s", err);
    }

    value = json_object_get(v->root, "model");

    if (value == NULL) {
        return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, "model",
                                       "\"model\" is missing");
    }

    v->model.data = (u_char *) json_string_value(value);
    v->model.len = json_string_length(value);

    if (v->model.len == 0 || v->model.len > TF_MODEL_MAX) {
        return ngx_http_trifecta_vectors_bad(r, "model", "must be the name of "
                                             "a model of kind embedding");
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    rc = ngx_http_trifecta_model_check(r, "model", mcf->vectors, &v->model);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    value = json_object_get(v->root, "encoding_format");
    word = json_string_value(value);

    if (value && !json_is_null(value)) {
        v->base64 = word && ngx_strcmp(word, "base64") == 0;

        if (!v->base64 && (word == NULL || ngx_strcmp(word, "float") != 0)) {
            return ngx_http_trifecta_vectors_bad(r, "encoding_format",
                                                 "must be \"float\" or "
                                                 "\"base64\"");
        }
    }

    value = json_object_get(v->root, "dimensions");

    if (value && !json_is_null(value)) {

        if (!json_is_integer(value) || json_integer_value(value) < 1) {
            return ngx_http_trifecta_vectors_bad(r, "dimensions", "must be a "
                                                 "number above 0");
        }

        v->dimensions = value;
    }

    value = json_object_get(v->root, "user");

    if (value && !json_is_null(value) && !json_is_string(value)) {
        return ngx_http_trifecta_vectors_bad(r, "user", "must be a string");
    }

    return ngx_http_trifecta_vectors_input(r, v);
}


/* The request of the job; the name of the model in the pool. */

static ngx_int_t
ngx_http_trifecta_vectors_keeps(ngx_http_request_t *r,
    ngx_http_trifecta_vectors_t *v, ngx_str_t *model,
    ngx_http_trifecta_json_t *j)
{
    model->len = v->model.len;
    model->data = ngx_pstrdup(r->pool, &v->model);

    if (model->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_printf(j, "{\"openai\":{\"shape\":\"embeddings\","
                                  "\"base64\":%s}",
                                  v->base64 ? "true" : "false");

    if (v->dimensions) {
        ngx_http_trifecta_openai_member(j, "dimensions", v->dimensions, "");
    }

    ngx_http_trifecta_submit_value(j, ",\"input\":", v->texts);
    ngx_http_trifecta_json_lit(j, "}");

    return j->failed ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_prepare_vectors(ngx_http_request_t *r, json_t *root,
    ngx_str_t *model, ngx_http_trifecta_json_t *payload)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_vectors_t   v;

    ngx_memzero(&v, sizeof(ngx_http_trifecta_vectors_t));

    v.root = json_incref(root);

    rc = ngx_http_trifecta_vectors_parse(r, NULL, &v);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_vectors_keeps(r, &v, model, payload);
    }

    json_decref(v.texts);
    json_decref(v.root);

    return rc;
}


static ngx_int_t
ngx_http_trifecta_vectors_submit(ngx_http_request_t *r, ngx_str_t *body,
    ngx_http_trifecta_vectors_t *v)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_openai_t   o;
    ngx_http_trifecta_submit_t  *submit;

    submit = ngx_http_trifecta_submit_create(r,
                                           &ngx_http_trifecta_face_embeddings,
                                           body->len + 128);
    if (submit == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_vectors_keeps(r, v, &submit->model,
                                         &submit->payload);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_memzero(&o, sizeof(ngx_http_trifecta_openai_t));

    if (ngx_http_trifecta_header_in(r, "idempotency-key") == NULL) {
        o.store = json_false();
    }

    if (ngx_http_trifecta_openai_wait_create(submit, &o,
                                            ngx_http_trifecta_openai_vectors)
        == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_enqueue(submit, body);
}


static ngx_int_t
ngx_http_trifecta_vectors_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_int_t                     rc;
    ngx_http_trifecta_vectors_t   v;

    ngx_memzero(&v, sizeof(ngx_http_trifecta_vectors_t));

    rc = ngx_http_trifecta_vectors_parse(r, body, &v);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_vectors_submit(r, body, &v);
    }

    json_decref(v.texts);
    json_decref(v.root);

    return rc;
}


ngx_int_t
ngx_http_trifecta_openai_create_embeddings(ngx_http_request_t *r,
    ngx_str_t *id)
{
    return ngx_http_trifecta_openai_read(r, ngx_http_trifecta_vectors_body);
}


/*
 * The next vector of the result's body, as it is coded; NGX_DONE: there are no
 * more, NGX_ERROR: it is none.  Base64 has nothing in it that JSON would
 * escape, so megabytes of it are only copied.
 */

static ngx_int_t
ngx_http_trifecta_vectors_next(ngx_str_t *text, ngx_str_t *coded)
{
    u_char  *p, *last;

    p = text->data;
    last = text->data + text->len;

    while (p < last && (*p == '[' || *p == ',' || *p == ' ')) {
        p++;
    }

    if (p < last && *p == ']') {
        return NGX_DONE;
    }

    if (p == last || *p++ != '"') {
        return NGX_ERROR;
    }

    coded->data = p;
    p = ngx_strlchr(p, last, '"');

    if (p == NULL) {
        return NGX_ERROR;
    }

    coded->len = p - coded->data;
    text->data = p + 1;
    text->len = last - text->data;

    return NGX_OK;
}


/* A vector as numbers; NGX_ERROR: it is none. */

static ngx_int_t
ngx_http_trifecta_vectors_numbers(ngx_pool_t *pool, ngx_str_t *coded,
    ngx_http_trifecta_json_t *j)
{
    int        n;
    char       text[32];
    float      number;
    size_t     i;
    uint32_t   bits;
    ngx_int_t  rc;
    ngx_str_t  raw;

    raw.data = ngx_pnalloc(pool, ngx_base64_decoded_length(coded->len) + 1);

    if (raw.data == NULL || ngx_decode_base64(&raw, coded) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    ngx_http_trifecta_json_lit(j, "[");

    for (i = 0; i + 4 <= raw.len; i += 4) {
        bits = (uint32_t) raw.data[i] | (uint32_t) raw.data[i + 1] << 8
               | (uint32_t) raw.data[i + 2] << 16
               | (uint32_t) raw.data[i + 3] << 24;
        ngx_memcpy(&number, &bits, sizeof(number));

        /* JSON has no word for these */

        if (!isfinite(number)) {
            rc = NGX_ERROR;
            break;
        }

        n = snprintf(text, sizeof(text), "%s%.9g", i ? "," : "",
                     (double) number);
        ngx_http_trifecta_json_raw(j, text, (size_t) n);
    }

    ngx_http_trifecta_json_lit(j, "]");

    (void) ngx_pfree(pool, raw.data);

    return rc;
}


/* All of them; NGX_BUSY: they are too many to be drawn as numbers. */

static ngx_int_t
ngx_http_trifecta_vectors_draw(ngx_pool_t *pool, ngx_str_t text,
    ngx_uint_t base64, ngx_http_trifecta_json_t *j)
{
    size_t     i, bytes;
    ngx_int_t  rc;
    ngx_str_t  coded;

    bytes = 0;

    for (i = 0; /* void */; i++) {
        rc = ngx_http_trifecta_vectors_next(&text, &coded);

        if (rc != NGX_OK) {
            return rc == NGX_DONE ? NGX_OK : NGX_ERROR;
        }

        ngx_http_trifecta_json_printf(j, "%s{\"object\":\"embedding\","
                                      "\"index\":%uz,\"embedding\":",
                                      i ? "," : "", i);
        if (base64) {
            ngx_http_trifecta_json_lit(j, "\"");
            ngx_http_trifecta_json_raw(j, (char *) coded.data, coded.len);
            ngx_http_trifecta_json_lit(j, "\"}");
            continue;
        }

        bytes += coded.len / 4 * 3;

        if (bytes / 4 > TF_VECTORS_FLOATS) {
            return NGX_BUSY;
        }

        if (ngx_http_trifecta_vectors_numbers(pool, &coded, j) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_trifecta_json_lit(j, "}");
    }
}


ngx_int_t
ngx_http_trifecta_openai_vectors(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t      *usage;
    ngx_int_t    rc;
    ngx_str_t    text;
    json_int_t   tokens;
    ngx_uint_t   base64;

    if (job->state != TF_JOB_SUCCEEDED || job->row == NULL) {
        return ngx_http_trifecta_openai_failed(job);
    }

    ngx_http_trifecta_openai_body(job, &text);

    base64 = json_is_true(json_object_get(json_object_get(job->payload,
                                                          "openai"),
                                          "base64"));
    usage = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_USAGE);
    tokens = json_integer_value(json_object_get(usage, "input_tokens"));

    ngx_http_trifecta_json_lit(j, "{\"object\":\"list\",\"data\":[");

    rc = ngx_http_trifecta_vectors_draw(job->request->pool, text, base64, j);

    ngx_http_trifecta_json_lit(j, "],\"model\":");
    ngx_http_trifecta_json_str(j, &job->model);
    ngx_http_trifecta_json_printf(j, ",\"usage\":{\"prompt_tokens\":%L,"
                                  "\"total_tokens\":%L}}", (int64_t) tokens,
                                  (int64_t) tokens);
    json_decref(usage);

    if (rc == NGX_BUSY) {
        return ngx_http_trifecta_error(job->request, TF_E_INVALID_VALUE,
                                       "encoding_format", "the vectors are "
                                       "more than %d numbers: ask for "
                                       "\"encoding_format\": \"base64\", or "
                                       "send fewer texts", TF_VECTORS_FLOATS);
    }

    if (rc != NGX_OK) {
        return ngx_http_trifecta_error(job->request, TF_E_STORE_UNAVAILABLE,
                                       NULL, "the vectors cannot be read");
    }

    return NGX_DECLINED;
}
