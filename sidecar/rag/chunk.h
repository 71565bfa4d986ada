#ifndef TF_RAG_CHUNK_H
#define TF_RAG_CHUNK_H


#include <stddef.h>

#include "extract/text.h"


/*
 * A chunk is what is indexed, found and shown to a model: neighbouring blocks
 * of one section, verbatim.  Sizes are characters.
 *
 * Prose is cut between sentences, so that chunks have TF_CHUNK_MIN to
 * TF_CHUNK_MAX characters where the section has that many.  Lists, tables
 * and code stay whole up to TF_CHUNK_HARD, and are cut between items or lines
 * beyond.
 * A chunk that follows another one in the same section starts with the last
 * sentences of it (TF_CHUNK_OVERLAP_MIN to .._MAX characters; up to twice as
 * much to start with a whole sentence), if it ended with prose.  No chunk
 * crosses a heading.
 */

#define TF_CHUNK_MIN          1000
#define TF_CHUNK_MAX          1600
#define TF_CHUNK_HARD         4000
#define TF_CHUNK_OVERLAP_MIN  150
#define TF_CHUNK_OVERLAP_MAX  200

typedef struct {
    unsigned     section;
    size_t       start;
    size_t       end;
} tf_chunk_t;


/* Returns the chunks, and in *n how many; NULL: out of memory. */
tf_chunk_t *tf_chunks(const tf_text_t *text, size_t *n);


#endif /* TF_RAG_CHUNK_H */
