#ifndef NGX_HTTP_TRIFECTA_OPENAI_MEMBERS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_OPENAI_MEMBERS_H_INCLUDED


#include "ngx_http_trifecta_openai.h"


/*
 * A row of the table of members, and the checks that are more than a type
 * (openai_values.c).  A check returns NGX_DECLINED when the value is good;
 * the table then keeps it where the row says, if nothing stands there yet.
 * Rows whose check keeps what it needs itself say "root".
 */

#define NGX_HTTP_TRIFECTA_OPENAI_EFFORTS                                      \
    "\"none\" \"minimal\" \"low\" \"medium\" \"high\" \"xhigh\""
#define NGX_HTTP_TRIFECTA_OPENAI_VERBOSITIES  "\"low\" \"medium\" \"high\""

#define NGX_HTTP_TRIFECTA_OPENAI_STOPS  4

typedef struct ngx_http_trifecta_openai_member_s
    ngx_http_trifecta_openai_member_t;

typedef ngx_int_t (*ngx_http_trifecta_openai_check_pt)(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);

struct ngx_http_trifecta_openai_member_s {
    ngx_uint_t                          shapes;
    const char                         *name;
    ngx_http_trifecta_openai_check_pt   check;
    size_t                              keep;
    double                              min;
    double                              max;
    const char                         *only;
};


ngx_int_t ngx_http_trifecta_openai_is_stream_options(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_include(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_previous(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_conversation(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_stop(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_reasoning(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_text_config(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_response_format(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_tools(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);
ngx_int_t ngx_http_trifecta_openai_is_tool_choice(ngx_http_request_t *r,
    const ngx_http_trifecta_openai_member_t *m, json_t *value,
    ngx_http_trifecta_openai_t *o);

/*
 * The value is one of these, JSON texts with a blank between them; name is
 * the whole path of the member.
 */
ngx_int_t ngx_http_trifecta_openai_among(ngx_http_request_t *r,
    const char *name, const char *only, json_t *value);

/* What no member alone can say: which do not go together. */
ngx_int_t ngx_http_trifecta_openai_together(ngx_http_request_t *r,
    ngx_http_trifecta_openai_t *o);

/* The error for a member that is a part of another: "tools[1].type". */
ngx_int_t ngx_http_trifecta_openai_bad(ngx_http_request_t *r,
    const char *name, ngx_int_t index, const char *part, const char *why);


#endif /* NGX_HTTP_TRIFECTA_OPENAI_MEMBERS_H_INCLUDED */
