#ifndef TF_EXTRACT_SAX_H
#define TF_EXTRACT_SAX_H


#include <stddef.h>

#include "extract/extract.h"


/*
 * XML of office files as it streams by: elements and text, no tree.
 *
 * Names are those without their prefix.  A document type, an entity or any
 * other declaration is refused at sight, nothing is loaded, and the depth is
 * bounded.  A handler that wants no more sets stop.
 */

typedef struct tf_sax_s  tf_sax_t;

typedef struct {
    const unsigned char  **list;
    int                    n;
} tf_sax_attrs_t;

typedef struct {
    void  (*start)(void *ctx, const char *name, const tf_sax_attrs_t *attrs);
    void  (*end)(void *ctx, const char *name);
    void  (*text)(void *ctx, const char *s, size_t len);    /* or NULL */
    void   *ctx;
    int     stop;
} tf_sax_handlers_t;


tf_sax_t *tf_sax_open(tf_extract_t *ex, tf_sax_handlers_t *handlers);

/* 0, or -1: it is refused, or a handler stopped. */
int tf_sax_feed(tf_sax_t *sax, const char *data, size_t len);

/* Ends the document and frees: 0, or -1 when it was not well-formed. */
int tf_sax_close(tf_sax_t *sax);

/* "val", or with a prefix "r:id"; the value with its length, or NULL. */
const char *tf_sax_attr(const tf_sax_attrs_t *attrs, const char *name,
    size_t *len);

/* Copies the value, cut to size; "" when there is none.  Returns value. */
char *tf_sax_copy(const tf_sax_attrs_t *attrs, const char *name, char *value,
    size_t size);

/* The value as a number; none: def. */
long tf_sax_number(const tf_sax_attrs_t *attrs, const char *name, long def);


#endif /* TF_EXTRACT_SAX_H */
