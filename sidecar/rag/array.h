#ifndef TF_RAG_ARRAY_H
#define TF_RAG_ARRAY_H


#include <stddef.h>

#include "base/buf.h"


/*
 * Arrays as PostgreSQL reads them in a text parameter: {"a","b"} or {1,2}.
 * Put the elements in, then close; an empty array is "{}".
 */

void tf_array_text(tf_buf_t *b, const char *s, size_t len);
void tf_array_int(tf_buf_t *b, long long n);
void tf_array_real(tf_buf_t *b, double x);
void tf_array_null(tf_buf_t *b);

/* Adds all elements of another array, as the server printed it. */
void tf_array_add(tf_buf_t *b, const char *array);

void tf_array_close(tf_buf_t *b);


#endif /* TF_RAG_ARRAY_H */
