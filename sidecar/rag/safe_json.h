#ifndef TF_RAG_SAFE_JSON_H
#define TF_RAG_SAFE_JSON_H


#include "rag/safe.h"


/*
 * safe.h for an answer in JSON.
 *
 * Whoever reads it sees what its strings mean and not how they are written:
 * "\u0068ttps:\/\/" is a URL.  So each string is decoded, goes through safe.h
 * as a text of its own and is written again, with as few escapes as JSON
 * asks for.  What is between the strings is looked at as it stands.
 *
 * A model may write something that is no JSON.  Then a quotation mark begins
 * or ends a string here all the same; nothing of it gets by safe.h.  Half a
 * pair of surrogates becomes U+FFFD.
 */

typedef struct {
    tf_safe_t  *safe;
    tf_buf_t   *out;
    tf_buf_t    plain;      /* decoded, not looked at yet */
    tf_buf_t    text;       /* looked at, not written yet */
    char        escape[8];  /* as far as it came */
    unsigned    nescape;
    unsigned    high;       /* the first of a pair, or 0 */
    unsigned    inside:1;   /* a string */
} tf_safe_json_t;


/* safe is used for nothing else.  Text is appended to out. */
void tf_safe_json_begin(tf_safe_json_t *j, tf_safe_t *safe, tf_buf_t *out);

/* 0, or -1 when memory is short. */
int tf_safe_json_text(tf_safe_json_t *j, const char *text, size_t len);
int tf_safe_json_end(tf_safe_json_t *j);

void tf_safe_json_free(tf_safe_json_t *j);


#endif /* TF_RAG_SAFE_JSON_H */
