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
void tf_safe_remove(tf_safe_t *t);
size_t tf_safe_one_of(const tf_safe_t *t, const char *s, size_t len,
    const char *const *list);


/*
 * safe_url.c: what begins an address, and what becomes of it; each is 0 where
 * there is none.
 */

/* Behind which byte, whatever was before it, an address may begin. */

static inline int
tf_safe_opens(unsigned char c)
{
    return c == '(' || c == '<' || c == '"' || c == '\'' || c == '=';
}

/* Whether the address of a link may begin behind what was written. */
int tf_safe_target(const tf_safe_t *t);

size_t tf_safe_url(tf_safe_t *t, const char *s, size_t left, size_t n,
    int may);
size_t tf_safe_skip(tf_safe_t *t, const char *s, size_t left);
size_t tf_safe_masked(tf_safe_t *t, const char *s, size_t left);
size_t tf_safe_word(tf_safe_t *t, const char *s, size_t left);


/* safe_tag.c: what stands at s is written; its length, or TF_SAFE_MORE */

size_t tf_safe_tag(tf_safe_t *t, const char *s, size_t left);
size_t tf_safe_ticks(tf_safe_t *t, const char *s, size_t left);


#endif /* TF_RAG_SAFE_SCAN_H */
