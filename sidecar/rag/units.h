#ifndef TF_RAG_UNITS_H
#define TF_RAG_UNITS_H


#include <stddef.h>

#include "extract/text.h"


/*
 * A unit is what can be quoted: a sentence, a field, an item of a list or a
 * short list, a row of a table, a piece of code.  A sentence that announces
 * what follows ("for example:") goes with it if both together are short.
 * Units are in order and do not overlap; each is a stretch of the text.
 */

#define TF_UNIT_WHOLE  500      /* bytes: a list or code up to this is one */
#define TF_UNIT_LONG   700      /* a sentence beyond this is cut at a line */

typedef void (*tf_unit_pt)(void *ctx, size_t start, size_t end);


/* The units of a chunk's body. */
void tf_units(const char *body, size_t len, tf_unit_pt handler, void *ctx);

/*
 * The lines of a stretch; in a list, its items of the outer level, each with
 * what hangs below it.  Lines without text are left out.
 */
void tf_unit_lines(const char *s, int list, size_t start, size_t end,
    tf_unit_pt handler, void *ctx);

/*
 * The end of the sentence that starts at start, and in *next where the one
 * after it starts (end if it was the last).  Abbreviations, numbers and
 * initials do not end a sentence.
 */
size_t tf_sentence(const char *data, size_t start, size_t end, size_t *next);


#endif /* TF_RAG_UNITS_H */
