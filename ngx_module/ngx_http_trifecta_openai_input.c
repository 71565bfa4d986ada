#include "ngx_http_trifecta_openai_members.h"


/*
 * What was said, as a string or as a list of messages: the last one is the
 * user's and becomes the question, what system and developer say is told to
 * the model, and the others are the turns before the question.
 */

typedef struct {
    ngx_http_request_t           *request;
    ngx_http_trifecta_openai_t   *o;
    const char                   *name;
    ngx_int_t                     index;
    size_t                        bytes;
    size_t                        count;
    ngx_http_trifecta_json_t      told;
    ngx_http_trifecta_json_t      text;     /* of this message */
} ngx_http_trifecta_openai_talk_t;


static const char *const  ngx_http_trifecta_openai_roles[] = {
    "user", "assistant", "system", "developer", NULL
};


static ngx_int_t
ngx_http_trifecta_openai_no(ngx_http_trifecta_openai_talk_t *t,
    const char *part, const char *why)
{
    return ngx_http_trifecta_openai_bad(t->request, t->name, t->index, part,
                                        why);
}


static ngx_int_t
ngx_http_trifecta_openai_add(ngx_http_trifecta_openai_talk_t *t,
    json_t *text)
{
    t->bytes += json_string_length(text);

    if (t->bytes > NGX_HTTP_TRIFECTA_OPENAI_TEXT_MAX) {
        return ngx_http_trifecta_openai_bad(t->request, t->name, -1, NULL,
                                            "has more than 1048576 bytes of "
                                            "text");
    }

    ngx_http_trifecta_json_raw(&t->text, json_string_value(text),
                               json_string_length(text));

    return NGX_DECLINED;
}


/* The text of a message, in one piece: "text" of the structure. */

static ngx_int_t
ngx_http_trifecta_openai_content(ngx_http_trifecta_openai_talk_t *t,
    json_t *content)
{
    size_t       i;
    json_t      *part, *text;
    ngx_int_t    rc;
    const char  *type;

    t->text.last = t->text.start;

    if (json_is_string(content)) {
        return ngx_http_trifecta_openai_add(t, content);
    }

    if (!json_is_array(content)) {
        return ngx_http_trifecta_openai_no(t, "content",
                                           "must be a string, or an array of "
                                           "parts with text");
    }

    json_array_foreach(content, i, part) {

        type = json_string_value(json_object_get(part, "type"));
        text = json_object_get(part, "text");

        if (type == NULL || !json_is_string(text)
            || (ngx_strcmp(type, "input_text") != 0
                && ngx_strcmp(type, "output_text") != 0
                && ngx_strcmp(type, "text") != 0))
        {
            return ngx_http_trifecta_openai_no(t, "content",
                                               "has a part that is no text; "
                                               "images, audio and files are "
                                               "not supported");
        }

        rc = ngx_http_trifecta_openai_add(t, text);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/* The role as a word of the table, or NULL. */

static const char *
ngx_http_trifecta_openai_role(json_t *item)
{
    const char         *role;
    const char *const  *word;

    role = json_string_value(json_object_get(item, "role"));

    if (role == NULL) {
        return NULL;
    }

    for (word = ngx_http_trifecta_openai_roles; *word; word++) {
        if (ngx_strcmp(*word, role) == 0) {
            return *word;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_trifecta_openai_question(ngx_http_trifecta_openai_talk_t *t)
{
    size_t       n;
    ngx_uint_t   blank;
    ngx_str_t   *query;

    query = &t->o->query;
    query->len = t->text.last - t->text.start;
    query->data = ngx_pnalloc(t->request->pool, query->len + 1);
    if (query->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(query->data, t->text.start, query->len);

    n = ngx_http_trifecta_utf8_length(query->data, query->len, &blank);

    if (blank) {
        return ngx_http_trifecta_openai_no(t, NULL, n ? "is blank"
                                                      : "is empty");
    }

    if (n > TF_QUERY_MAX) {
        return ngx_http_trifecta_openai_no(t, NULL, "has more than 32768 "
                                           "characters: what else the model "
                                           "shall know belongs into messages "
                                           "before the last one");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_openai_keep(ngx_http_trifecta_openai_talk_t *t,
    json_t *list, const char *role)
{
    json_t  *item;

    item = json_pack("{s:s, s:s%}", "role", role, "content", t->text.start,
                     (size_t) (t->text.last - t->text.start));

    if (list == t->o->systems && item != NULL) {
        (void) json_object_set_new(item, "at", json_integer(t->index));
    }

    return json_array_append_new(list, item) == 0
           ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static void
ngx_http_trifecta_openai_tell(ngx_http_trifecta_openai_talk_t *t,
    const void *text, size_t len)
{
    if (t->told.last != t->told.start && len) {
        ngx_http_trifecta_json_lit(&t->told, "\n\n");
    }

    ngx_http_trifecta_json_raw(&t->told, text, len);
}


static ngx_int_t
ngx_http_trifecta_openai_said(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    json_t      *type, *calls;
    ngx_int_t    rc;
    const char  *role;

    type = json_object_get(item, "type");

    if (type && (!json_is_string(type)
                 || ngx_strcmp(json_string_value(type), "message") != 0))
    {
        return ngx_http_trifecta_openai_no(t, "type", "is not supported: "
                                           "there are messages only");
    }

    role = ngx_http_trifecta_openai_role(item);

    if (role == NULL) {
        return ngx_http_trifecta_openai_no(t, "role", "must be user, "
                                           "assistant, system or developer");
    }

    calls = json_object_get(item, "tool_calls");

    if (calls && !json_is_null(calls)) {
        return ngx_http_trifecta_openai_no(t, "tool_calls",
                                           "is not supported: results of "
                                           "tools cannot be given back");
    }

    rc = ngx_http_trifecta_openai_content(t, json_object_get(item,
                                                             "content"));
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (t->text.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (*role == 's' || *role == 'd') {
        ngx_http_trifecta_openai_tell(t, t->text.start,
                                      t->text.last - t->text.start);

        return ngx_http_trifecta_openai_keep(t, t->o->systems, role);
    }

    if ((size_t) t->index + 1 < t->count) {
        return ngx_http_trifecta_openai_keep(t, t->o->turns, role);
    }

    if (*role != 'u') {
        return ngx_http_trifecta_openai_no(t, "role", "must be user: the "
                                           "last message is the question");
    }

    return ngx_http_trifecta_openai_question(t);
}


static ngx_int_t
ngx_http_trifecta_openai_list(ngx_http_trifecta_openai_talk_t *t)
{
    size_t      i;
    json_t     *item, *list;
    ngx_int_t   rc;

    list = t->o->input;

    if (json_array_size(list) == 0
        || json_array_size(list) > NGX_HTTP_TRIFECTA_OPENAI_ITEMS_MAX)
    {
        return ngx_http_trifecta_openai_bad(t->request, t->name, -1, NULL,
                                            "must be 1 to 1024 messages");
    }

    /* what is told behind the question does not make it another one */

    for (t->count = json_array_size(list); t->count > 1; t->count--) {
        item = json_array_get(list, t->count - 1);

        if (ngx_http_trifecta_openai_role(item) == NULL
            || strchr("ua", *ngx_http_trifecta_openai_role(item)))
        {
            break;
        }
    }

    json_array_foreach(list, i, item) {
        t->index = (ngx_int_t) i;
        rc = ngx_http_trifecta_openai_said(t, item);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (t->o->query.len == 0) {
        return ngx_http_trifecta_openai_bad(t->request, t->name, -1, NULL,
                                            "has no message of the user at "
                                            "its end: that is the question");
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_openai_input(ngx_http_request_t *r, const char *name,
    ngx_http_trifecta_openai_t *o)
{
    ngx_int_t                         rc;
    ngx_http_trifecta_openai_talk_t   t;

    ngx_memzero(&t, sizeof(ngx_http_trifecta_openai_talk_t));

    t.request = r;
    t.o = o;
    t.name = name;
    t.index = -1;

    o->turns = ngx_http_trifecta_openai_own(o, json_array());
    o->systems = ngx_http_trifecta_openai_own(o, json_array());

    if (o->turns == NULL || o->systems == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_trifecta_json_init(&t.text, r->pool, 1024);
    ngx_http_trifecta_json_init(&t.told, r->pool, 1024);

    if (o->instructions) {
        t.bytes = json_string_length(o->instructions);

        ngx_http_trifecta_openai_tell(&t,
                                      json_string_value(o->instructions),
                                      json_string_length(o->instructions));
    }

    if (json_is_string(o->input)
        && o->shape == NGX_HTTP_TRIFECTA_OPENAI_RESPONSE)
    {
        rc = ngx_http_trifecta_openai_content(&t, o->input);

        if (rc == NGX_DECLINED) {
            rc = t.text.failed ? NGX_HTTP_INTERNAL_SERVER_ERROR
                               : ngx_http_trifecta_openai_question(&t);
        }

    } else {
        rc = ngx_http_trifecta_openai_list(&t);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (t.told.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (t.told.last != t.told.start) {
        o->told = ngx_http_trifecta_openai_own(o,
                                    json_stringn((char *) t.told.start,
                                                 t.told.last - t.told.start));
        if (o->told == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return NGX_DECLINED;
}
