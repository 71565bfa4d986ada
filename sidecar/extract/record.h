#ifndef TF_EXTRACT_RECORD_H
#define TF_EXTRACT_RECORD_H


#include <stddef.h>

#include "extract/out.h"


/*
 * A record: a row of a table or an object, as an item of a list,
 *
 *     - name: Alice
 *       city: Paris
 *
 * so that it stays in one chunk and is quoted as a whole.  A long value is
 * prose: it is put below the record under a heading of its own, with the
 * record's name or title in the path.
 */

#define TF_RECORD_LONG  300     /* bytes of a value that is prose */
#define TF_RECORD_ITEM  1200    /* of an item, before another one begins */

typedef struct {
    tf_out_t  *out;
    int        open;            /* an item is */
    size_t     start;
    char       title[200];
} tf_record_t;


void tf_record_begin(tf_record_t *r);
void tf_record_field(tf_record_t *r, const char *name, size_t namelen,
    const char *value, size_t len);
void tf_record_end(tf_record_t *r);


#endif /* TF_EXTRACT_RECORD_H */
