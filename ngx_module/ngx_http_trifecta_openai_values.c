#include "ngx_http_trifecta_openai_members.h"
#include "ngx_http_trifecta_conversation.h"


#define NGX_HTTP_TRIFECTA_OPENAI_PARAM  64      /* bytes of a path */


ngx_int_t
ngx_http_trifecta_openai_bad(ngx_http_request_t *r, const char *name,
    ngx_int_t index, const char *part, const char *why)
{
    u_char  *p, *last;
    u_char   param[NGX_HTTP_TRIFECTA_OPENAI_PARAM];

    p = param;
    last = param + sizeof(param) - 1;
    p = ngx_slprintf(p, last, "%s", name);

    if (index >= 0) {
        p = ngx_slprintf(p, last, "[%i]", index);
    }

    if (part) {
        p = ngx_slprintf(p, last, ".%s", part);
    }

    *p = '\0';

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, (char *) param,
                                   "\"%s\" %s", param, why);
}


ngx_int_t
ngx_http_trifecta_openai_is_stream_options(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    json_t      *part;
    const char  *name;

    if (!json_is_object(value)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be an object");
    }

    json_object_foreach(value, name, part) {

        if (ngx_strcmp(name, "include_usage") == 0
            && o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT)
        {
            if (!json_is_boolean(part)) {
                return ngx_http_trifecta_openai_bad(r, m->name, -1, name,
                                                    "must be true or false");
            }

        } else if (ngx_strcmp(name, "include_obfuscation") == 0
                   && !json_is_false(part))
        {
            return ngx_http_trifecta_openai_bad(r, m->name, -1, name,
                                                "is not supported, but for "
                                                "false");
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_is_include(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    size_t   i;
    json_t  *item;

    if (!json_is_array(value)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be an array of strings");
    }

    json_array_foreach(value, i, item) {
        if (!json_is_string(item)
            || ngx_strcmp(json_string_value(item), "file_search_call.results")
               != 0)
        {
            return ngx_http_trifecta_openai_bad(r, m->name, (ngx_int_t) i,
                                                NULL, "is not supported: "
                                                "there is only "
                                                "file_search_call.results");
        }
    }

    return NGX_DECLINED;
}


/* Up to four texts, or one; none is none. */

ngx_int_t
ngx_http_trifecta_openai_is_stop(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    size_t   i;
    json_t  *item;

    if (json_is_array(value)
        && json_array_size(value) <= NGX_HTTP_TRIFECTA_OPENAI_STOPS)
    {
        json_array_foreach(value, i, item) {
            if (json_string_length(item) == 0) {
                break;
            }
        }

        if (i == json_array_size(value)) {
            return NGX_DECLINED;
        }

    } else if (json_string_length(value)) {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                        "must be a string, or an array of at "
                                        "most 4 strings, that are not empty");
}


ngx_int_t
ngx_http_trifecta_openai_is_reasoning(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    json_t      *part;
    const char  *name;

    if (!json_is_object(value)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be an object");
    }

    json_object_foreach(value, name, part) {

        if (json_is_null(part)) {
            continue;
        }

        if (ngx_strcmp(name, "effort") == 0) {
            o->effort = part;

        } else if (ngx_strcmp(name, "summary") == 0
                   || ngx_strcmp(name, "generate_summary") == 0)
        {
            return ngx_http_trifecta_openai_bad(r, m->name, -1, name,
                                                "is not supported: leave it "
                                                "out");
        }
    }

    return o->effort == NULL
           ? NGX_DECLINED
           : ngx_http_trifecta_openai_among(r, "reasoning.effort",
                                            NGX_HTTP_TRIFECTA_OPENAI_EFFORTS,
                                            o->effort);
}


/* An id that was not made for the caller is the same as one of nobody. */

ngx_int_t
ngx_http_trifecta_openai_is_previous(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    tf_id_t                         tid;
    ngx_int_t                       rc;
    ngx_str_t                       text;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    if (!json_is_string(value)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be a string");
    }

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);

    rc = ngx_http_trifecta_openai_job_id(r, "resp", &text, &o->previous);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK
        && tf_id_parse(&tid, (char *) o->previous.data, o->previous.len) == 0
        && tf_id_verify(&tid, &mcf->id_keys, (char *) ctx->tenant.data,
                        ctx->tenant.len, (char *) ctx->owner.data,
                        ctx->owner.len))
    {
        return NGX_DECLINED;
    }

    return ngx_http_trifecta_error(r, TF_E_NOT_FOUND, m->name,
                                   "there is no such response to go on with");
}


ngx_int_t
ngx_http_trifecta_openai_is_conversation(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o)
{
    json_t  *id;

    id = json_is_object(value) ? json_object_get(value, "id") : value;

    if (!json_is_string(id)) {
        return ngx_http_trifecta_openai_bad(r, m->name, -1, NULL,
                                            "must be a string, or an object "
                                            "with an \"id\"");
    }

    o->ask.conversation.data = (u_char *) json_string_value(id);
    o->ask.conversation.len = json_string_length(id);

    return ngx_http_trifecta_conversation_check(r, m->name,
                                                &o->ask.conversation);
}


ngx_int_t
ngx_http_trifecta_openai_together(ngx_http_request_t *r,
    ngx_http_trifecta_openai_t *o)
{
    if (o->stream_options && !json_is_true(o->stream)) {
        return ngx_http_trifecta_openai_bad(r, "stream_options", -1, NULL,
                                            "is for requests with \"stream\": "
                                            "true only");
    }

    if (json_is_true(o->background) && json_is_false(o->store)) {
        return ngx_http_trifecta_openai_bad(r, "background", -1, NULL,
                                            "needs an answer that is stored: "
                                            "leave \"store\": false out");
    }

    if (o->previous.len && o->ask.conversation.len) {
        return ngx_http_trifecta_openai_bad(r, "previous_response_id", -1,
                                            NULL, "and \"conversation\" do "
                                            "not go together");
    }

    return NGX_DECLINED;
}
