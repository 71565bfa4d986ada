#ifndef NGX_HTTP_TRIFECTA_FIELDS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_FIELDS_H_INCLUDED


#include <stddef.h>


/*
 * Request header fields whose value is a list, as pure functions: they take
 * bytes, never fail, and read nothing into what they do not understand.
 *
 * Prefer (RFC 7240): preferences, separated by commas, each a name with an
 * optional value, "=" between them, and parameters after ";".  A value is a
 * token or a quoted string, in which commas mean nothing.  Of a preference
 * that is given twice, in one line or in two, only the first one counts; so
 * the lines of a request are given to one structure in their order.
 *
 * If-None-Match (RFC 9110): "*", or entity tags, separated by commas.  The
 * comparison is the weak one: W/"x" is "x".
 */

#define TF_PREFER_WAIT_MAX  60          /* s */

typedef struct {
    int  wait;          /* s, at most TF_PREFER_WAIT_MAX; -1: none */
    int  durable;       /* 1: preferred; it has no value */
    int  wait_seen;     /* there was a preference of the name, good or bad */
    int  durable_seen;
} tf_prefer_t;


#define TF_PREFER_INIT  { -1, 0, 0, 0 }


void tf_prefer_parse(tf_prefer_t *prefer, const char *data, size_t len);

/* Whether the field's value names this tag, which is quoted as in ETag. */
int tf_etag_match(const char *data, size_t len, const char *etag,
    size_t etag_len);


#endif /* NGX_HTTP_TRIFECTA_FIELDS_H_INCLUDED */
