#ifndef TF_RAG_WORTH_H
#define TF_RAG_WORTH_H


#include <stddef.h>

#include "rag/search.h"


/*
 * What the units of the found chunks are worth as an answer, and how sure it
 * is that a chunk has one.  Pure: by the question's terms that each has, in no
 * language in particular.
 *
 * A unit's score is the info of the question's terms that it has itself, and a
 * share of the info that only its surroundings have: the headings, the title
 * and the rest of the chunk, and more of what the unit in front of it has.
 * "It was built in 1889." answers when the sentence before speaks of the
 * tower; what comes later does not say what "it" is.  Long units have more of
 * everything, so length costs a little, and what ranks higher as a whole is
 * preferred.
 *
 * Two things tell more than shared words.  The question names the section
 * ("... of proxy_read_timeout?" and a heading that is just that): then it is
 * about this section.  The question names a field ("the default value ..." and
 * a line "Default: ..."): then that line is the answer's place.
 *
 * A chunk is sure (0 to 1) by the share of the question that it covers, partly
 * by what a single unit covers, because words that are far from each other
 * meet by chance.  It is the surer the more it is about the words that it has:
 * BM25 gives a chunk the weight of a term, once, when a chunk of average
 * length has it once; more when it has it again, less when the chunk is long.
 */

#define TF_WORTH_AROUND    0.25     /* share of the surroundings' info */
#define TF_WORTH_BEFORE    0.6      /* the same of the unit in front */
#define TF_WORTH_RANK      0.25     /* share of the chunk's own rank */
#define TF_WORTH_SUBJECT   0.5      /* share of the heading's info */
#define TF_WORTH_FIELD     0.3      /* the question names the field */
#define TF_WORTH_FIELD_MAX 32       /* bytes of a field's name */
#define TF_WORTH_LONG      240      /* bytes: what a sentence has */
#define TF_WORTH_LENGTH    0.05     /* what twice of that costs */
#define TF_WORTH_SHORT     12

#define TF_WORTH_UNIT      0.3      /* of sure: what one unit covers */
#define TF_WORTH_ABOUT_MIN 0.8      /* times the weight of its terms */
#define TF_WORTH_ABOUT_MAX 1.5


/*
 * Sets the score of each unit and sure of each hit.  Units are in the order of
 * their hits and of the text.
 */
void tf_rag_worth(tf_rag_found_t *found, const char *question);

/* Whether the question has these words next to each other. */
int tf_rag_names(const char *question, const char *phrase, size_t len);


#endif /* TF_RAG_WORTH_H */
