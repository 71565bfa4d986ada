#ifndef TF_RAG_SAFE_SCAN_H
#define TF_RAG_SAFE_SCAN_H


#include "rag/safe.h"


/*
 * Where the things end that safe.h takes out: only looked at, nothing is
 * written here.
 */

/* Whoever decides says so when it cannot tell yet. */
#define TF_SAFE_MORE  ((size_t) -1)


size_t tf_safe_url_end(const char *s, size_t len, int *depth);
size_t tf_safe_tail(const char *s, size_t len, int depth, int angle, int *bad);
size_t tf_safe_address(const char *s, size_t len, int *masked);
size_t tf_safe_image(const tf_safe_t *t, const char *s, size_t left,
    size_t *alt, int *defuse);


#endif /* TF_RAG_SAFE_SCAN_H */
