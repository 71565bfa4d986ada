#include "ngx_http_trifecta_openai_input.h"
#include "ngx_http_trifecta_openai_members.h"


static const char *const  ngx_http_trifecta_openai_roles[] = {
    "user", "assistant", "system", "developer", NULL
};


ngx_int_t
ngx_http_trifecta_openai_no(ngx_http_trifecta_openai_talk_t *t,
    const char *part, const char *why)
{
    return ngx_http_trifecta_openai_bad(t->request, t->name, t->index, part,
                                        why);
}


ngx_int_t
ngx_http_trifecta_openai_bytes(ngx_http_trifecta_openai_talk_t *t, size_t n)
{
    t->bytes += n;

    if (t->bytes > NGX_HTTP_TRIFECTA_OPENAI_TEXT_MAX) {
        return ngx_http_trifecta_openai_bad(t->request, t->name, -1, NULL,
                                            "has more than 1048576 bytes of "
                                            "text");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_trifecta_openai_add(ngx_http_trifecta_openai_talk_t *t,
    json_t *text)
{
    ngx_http_trifecta_json_raw(&t->text, json_string_value(text),
                               json_string_length(text));

    return t->text.failed
           ? NGX_HTTP_INTERNAL_SERVER_ERROR
           : ngx_http_trifecta_openai_bytes(t, json_string_length(text));
}


ngx_int_t
ngx_http_trifecta_openai_content(ngx_http_trifecta_openai_talk_t *t,
    const char *name, json_t *content)
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
        return ngx_http_trifecta_openai_no(t, name,
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
            return ngx_http_trifecta_openai_no(t, name,
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


/*
 * What system and developer said is kept with its place among the items, of
 * which the question is one.
 */

static ngx_int_t
ngx_http_trifecta_openai_keep(ngx_http_trifecta_openai_talk_t *t,
    json_t *list, const char *role)
{
    json_t                      *item;
    ngx_http_trifecta_openai_t  *o;

    o = t->o;

    item = json_pack("{s:s, s:s%}", "role", role, "content", t->text.start,
                     (size_t) (t->text.last - t->text.start));

    if (list == o->systems && item != NULL) {
        (void) json_object_set_new(item, "at",
                   json_integer((json_int_t) (json_array_size(o->turns)
                                              + json_array_size(o->after)
                                              + json_array_size(o->systems)
                                              + (o->query.len > 0))));
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


static ngx_http_trifecta_openai_item_e
ngx_http_trifecta_openai_item(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    const char  *type, *role;

    type = json_string_value(json_object_get(item, "type"));

    if (t->o->shape == NGX_HTTP_TRIFECTA_OPENAI_RESPONSE && type) {

        if (ngx_strcmp(type, "function_call") == 0) {
            return ngx_http_trifecta_openai_called;
        }

        if (ngx_strcmp(type, "function_call_output") == 0) {
            return ngx_http_trifecta_openai_returned;
        }

        if (ngx_strcmp(type, "file_search_call") == 0) {
            return ngx_http_trifecta_openai_searched_for;
        }
    }

    role = json_string_value(json_object_get(item, "role"));

    if (role && t->o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT
        && ngx_strcmp(role, "tool") == 0)
    {
        return ngx_http_trifecta_openai_returned;
    }

    role = ngx_http_trifecta_openai_role(item);

    if (role == NULL || *role == 'a') {
        return ngx_http_trifecta_openai_said;
    }

    return *role == 'u' ? ngx_http_trifecta_openai_asked
                        : ngx_http_trifecta_openai_ruled;
}


/* The text of an assistant that calls functions may be null. */

static ngx_int_t
ngx_http_trifecta_openai_assistant(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    json_t     *content, *calls;
    ngx_int_t   rc;

    content = json_object_get(item, "content");
    calls = (t->o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT)
            ? json_object_get(item, "tool_calls") : NULL;

    if (calls == NULL || json_is_null(calls)) {
        calls = NULL;

    } else if (content == NULL || json_is_null(content)) {
        return ngx_http_trifecta_openai_tool_calls(t, calls);
    }

    rc = ngx_http_trifecta_openai_content(t, "content", content);

    if (rc == NGX_DECLINED
        && (calls == NULL || t->text.last != t->text.start))
    {
        rc = ngx_http_trifecta_openai_keep(t, t->to, "assistant");
    }

    return rc == NGX_DECLINED && calls
           ? ngx_http_trifecta_openai_tool_calls(t, calls) : rc;
}


static ngx_int_t
ngx_http_trifecta_openai_message_item(ngx_http_trifecta_openai_talk_t *t,
    json_t *item)
{
    json_t      *type;
    ngx_int_t    rc;
    const char  *role;

    type = json_object_get(item, "type");

    if (type && (!json_is_string(type)
                 || ngx_strcmp(json_string_value(type), "message") != 0))
    {
        return ngx_http_trifecta_openai_no(t, "type", "is not supported: "
                                           "there are messages, and calls of "
                                           "functions with their outputs");
    }

    role = ngx_http_trifecta_openai_role(item);

    if (role == NULL) {
        return ngx_http_trifecta_openai_no(t, "role",
                                    t->o->shape
                                    == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                                    ? "must be user, assistant, system, "
                                      "developer or tool"
                                    : "must be user, assistant, system or "
                                      "developer");
    }

    if (*role == 'a') {
        return ngx_http_trifecta_openai_assistant(t, item);
    }

    rc = ngx_http_trifecta_openai_content(t, "content",
                                          json_object_get(item, "content"));
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (*role != 'u') {
        ngx_http_trifecta_openai_tell(t, t->text.start,
                                      t->text.last - t->text.start);

        return ngx_http_trifecta_openai_keep(t, t->o->systems, role);
    }

    if (t->index != t->question) {
        return ngx_http_trifecta_openai_keep(t, t->to, role);
    }

    rc = ngx_http_trifecta_openai_question(t);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    t->to = t->o->after;

    return ngx_http_trifecta_openai_all_returned(t);
}


/*
 * Where the question stands: what is told behind it does not make it another
 * one, nor do results.
 */

static ngx_int_t
ngx_http_trifecta_openai_place(ngx_http_trifecta_openai_talk_t *t)
{
    json_t                           *list, *item;
    ngx_int_t                         i;
    ngx_http_trifecta_openai_item_e   is;

    list = t->o->input;
    is = ngx_http_trifecta_openai_said;

    for (i = (ngx_int_t) json_array_size(list) - 1; i >= 0; i--) {
        is = ngx_http_trifecta_openai_item(t, json_array_get(list,
                                                             (size_t) i));

        if (is != ngx_http_trifecta_openai_ruled
            && is != ngx_http_trifecta_openai_searched_for)
        {
            break;
        }
    }

    t->question = -1;

    if (i >= 0 && is == ngx_http_trifecta_openai_asked) {
        t->question = i;

        return NGX_DECLINED;
    }

    if (i >= 0 && is != ngx_http_trifecta_openai_returned) {
        item = json_array_get(list, (size_t) i);

        /* what is wrong with the item itself is said when it is read */

        t->index = i;

        return ngx_http_trifecta_openai_role(item)
               ? ngx_http_trifecta_openai_no(t, "role", "must be user: the "
                                             "last message is the question")
               : NGX_DECLINED;
    }

    for ( /* void */ ; i >= 0; i--) {
        item = json_array_get(list, (size_t) i);

        if (ngx_http_trifecta_openai_item(t, item)
            == ngx_http_trifecta_openai_asked)
        {
            t->question = i;

            return NGX_DECLINED;
        }
    }

    if (is == ngx_http_trifecta_openai_returned && t->o->previous.len) {
        t->to = t->o->after;

        return NGX_DECLINED;
    }

    return ngx_http_trifecta_openai_bad(t->request, t->name, -1, NULL,
                                        "has no message of the user at its "
                                        "end: that is the question");
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

    rc = ngx_http_trifecta_openai_place(t);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    json_array_foreach(list, i, item) {
        t->index = (ngx_int_t) i;

        switch (ngx_http_trifecta_openai_item(t, item)) {

        case ngx_http_trifecta_openai_called:
            rc = ngx_http_trifecta_openai_call_item(t, item);
            break;

        case ngx_http_trifecta_openai_returned:
            rc = t->o->shape == NGX_HTTP_TRIFECTA_OPENAI_CHAT
                 ? ngx_http_trifecta_openai_tool_message(t, item)
                 : ngx_http_trifecta_openai_output_item(t, item);
            break;

        case ngx_http_trifecta_openai_searched_for:
            break;      /* what is to be looked for is looked for anew */

        default:
            rc = ngx_http_trifecta_openai_message_item(t, item);
            break;
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return ngx_http_trifecta_openai_all_returned(t);
}


static ngx_int_t
ngx_http_trifecta_openai_read_input(ngx_http_trifecta_openai_talk_t *t)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_openai_t  *o;

    o = t->o;

    if (!json_is_string(o->input)
        || o->shape != NGX_HTTP_TRIFECTA_OPENAI_RESPONSE)
    {
        return ngx_http_trifecta_openai_list(t);
    }

    rc = ngx_http_trifecta_openai_content(t, NULL, o->input);

    return rc == NGX_DECLINED ? ngx_http_trifecta_openai_question(t) : rc;
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
    t.question = -1;

    o->turns = ngx_http_trifecta_openai_own(o, json_array());
    o->after = ngx_http_trifecta_openai_own(o, json_array());
    o->systems = ngx_http_trifecta_openai_own(o, json_array());
    t.calls = ngx_http_trifecta_openai_own(o, json_object());

    if (o->turns == NULL || o->after == NULL || o->systems == NULL
        || t.calls == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t.to = o->turns;

    ngx_http_trifecta_json_init(&t.text, r->pool, 1024);
    ngx_http_trifecta_json_init(&t.told, r->pool, 1024);

    if (o->instructions) {
        t.bytes = json_string_length(o->instructions);

        ngx_http_trifecta_openai_tell(&t,
                                      json_string_value(o->instructions),
                                      json_string_length(o->instructions));
    }

    rc = ngx_http_trifecta_openai_read_input(&t);

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
