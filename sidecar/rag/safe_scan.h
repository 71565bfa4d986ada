#ifndef TF_RAG_SAFE_SCAN_H
#define TF_RAG_SAFE_SCAN_H


#include "rag/safe.h"


/*
 * What the files of safe.h share.  safe_scan.c: where the things end that are
 * taken out, only looked at.
 */

/* Whoever decides says so when it cannot tell yet. */
#define TF_SAFE_MORE  ((size_t) -1)


size_t tf_safe_url_end(const char *s, size_t len, int *depth);
size_t tf_safe_tail(const char *s, size_t len, int depth, int angle, int *bad);
size_t tf_safe_address(const char *s, size_t len, int *masked);
size_t tf_safe_image(const tf_safe_t *t, const char *s, size_t left,
    size_t *alt, int *defuse);


/* safe.c */

void tf_safe_put(tf_safe_t *t, const char *s, size_t len);
size_t tf_safe_one_of(const tf_safe_t *t, const char *s, size_t len,
    const char *const *list);


/* safe_tag.c: what stands at s is written; its length, or TF_SAFE_MORE */

size_t tf_safe_tag(tf_safe_t *t, const char *s, size_t left);
size_t tf_safe_ticks(tf_safe_t *t, const char *s, size_t left);


#endif /* TF_RAG_SAFE_SCAN_H */
