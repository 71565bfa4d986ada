#ifndef NGX_HTTP_TRIFECTA_OPENAI_INPUT_H_INCLUDED
#define NGX_HTTP_TRIFECTA_OPENAI_INPUT_H_INCLUDED


#include "ngx_http_trifecta_openai.h"


/*
 * What was said, as a string or as a list: one item of it is the question, the
 * last message of the user.  What system and developer say is told to the
 * model, and all that was before the question becomes turns.
 *
 * Behind the question nothing is said, unless the model has called functions
 * and the list ends with what they returned: then what is behind it goes to
 * the model as it stands ("after").  Such a list without a question goes on
 * with that of the previous response.
 *
 * Turns and after are items of four kinds, one for each that a client sees:
 *
 *   {"role": "user" or "assistant", "content"}
 *   {"role": "call", "id", "name", "arguments"}      the model calls
 *   {"role": "result", "id", "content"}              what came of the call
 */

typedef struct {
    ngx_http_request_t           *request;
    ngx_http_trifecta_openai_t   *o;
    const char                   *name;         /* of the list */
    ngx_int_t                     index;        /* of the item */
    ngx_int_t                     question;     /* the same; -1: none */
    json_t                       *to;           /* turns, or after */
    json_t                       *calls;        /* without a result: id to
                                                 * index */
    size_t                        bytes;
    ngx_http_trifecta_json_t      told;
    ngx_http_trifecta_json_t      text;         /* of this item */
} ngx_http_trifecta_openai_talk_t;


/* What an item is, as far as the place of the question goes. */

typedef enum {
    ngx_http_trifecta_openai_said = 0,          /* or nothing that is known */
    ngx_http_trifecta_openai_asked,
    ngx_http_trifecta_openai_ruled,             /* by system or developer */
    ngx_http_trifecta_openai_called,
    ngx_http_trifecta_openai_returned,
    ngx_http_trifecta_openai_searched_for       /* file_search_call */
} ngx_http_trifecta_openai_item_e;


/* An error that names the item, or a member of it. */
ngx_int_t ngx_http_trifecta_openai_no(ngx_http_trifecta_openai_talk_t *t,
    const char *part, const char *why);

/* The text of a member of an item, in one piece, is t->text. */
ngx_int_t ngx_http_trifecta_openai_content(ngx_http_trifecta_openai_talk_t *t,
    const char *part, json_t *content);

/* So many bytes more are told. */
ngx_int_t ngx_http_trifecta_openai_bytes(ngx_http_trifecta_openai_talk_t *t,
    size_t n);


/* openai_calls.c; each returns NGX_DECLINED, or what an error returned. */

/* An item function_call or function_call_output of a response. */
ngx_int_t ngx_http_trifecta_openai_call_item(
    ngx_http_trifecta_openai_talk_t *t, json_t *item);
ngx_int_t ngx_http_trifecta_openai_output_item(
    ngx_http_trifecta_openai_talk_t *t, json_t *item);

/* A chat's message of the role tool, and the calls of an assistant's. */
ngx_int_t ngx_http_trifecta_openai_tool_message(
    ngx_http_trifecta_openai_talk_t *t, json_t *item);
ngx_int_t ngx_http_trifecta_openai_tool_calls(
    ngx_http_trifecta_openai_talk_t *t, json_t *calls);

/* No call may be without a result from here on. */
ngx_int_t ngx_http_trifecta_openai_all_returned(
    ngx_http_trifecta_openai_talk_t *t);


#endif /* NGX_HTTP_TRIFECTA_OPENAI_INPUT_H_INCLUDED */
