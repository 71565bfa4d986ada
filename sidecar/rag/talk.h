#ifndef TF_RAG_TALK_H
#define TF_RAG_TALK_H


#include "db/pg.h"
#include "llm/provider.h"
#include "rag/answer.h"


/*
 * A conversation: what was said before a question.
 *
 * Its turns are the owner's jobs of the same conversation_id that succeeded
 * (migrations/V11).  A question knows those that were accepted before it and
 * had ended when it was looked at, in the order in which they were accepted;
 * it waits for none, and never knows of a later one, also when it is tried
 * again.  Turns whose job had a group that the asker has no more are left
 * out, and so is a summary of such turns.  A model that may see some
 * collections only knows the turns of models that see no others, and no
 * summary, which may be of anything.
 *
 * At most "history" tokens of it are told to a model.  When the turns are
 * more, the newest that fill half of that are told as they are, and the model
 * writes a summary of the rest, from the one before.  A summary is data like
 * any document, it loses its links, it is TF_TALK_SUMMARY_MAX bytes at most,
 * and it is not stored when a job of the conversation was deleted meanwhile.
 *
 * Then the model puts the question so that it stands alone, for the search.
 * Neither may fail a question: what cannot be had in time is done without.
 */

#define TF_TALK_ID_MAX        64
#define TF_TALK_TURNS         32        /* that are looked at */
#define TF_TALK_QUESTION_MAX  1000      /* bytes of a turn */
#define TF_TALK_ANSWER_MAX    2000
#define TF_TALK_SUMMARY_MAX   2000
#define TF_TALK_RESTATED_MAX  2000

typedef struct {
    tf_llm_turn_t   turns[TF_TALK_TURNS];   /* oldest first */
    char            ids[TF_TALK_TURNS][40];
    size_t          nturns;
    size_t          first;      /* of those that are told as they are */
    char            version[24];
    tf_buf_t        summary;    /* of what was before the first, or empty */
    tf_buf_t        restated;   /* or empty */
    long long       input_tokens;       /* that this took */
    long long       output_tokens;
} tf_talk_t;


/* Reads it, in a transaction of its own; talk is zeroed before. */
tf_pg_status_t tf_talk_open(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);

/* Nothing was said before, or nothing of it may be told. */
int tf_talk_empty(const tf_talk_t *talk);

/* What a model does for it. */
void tf_talk_summarise(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);
void tf_talk_restate(const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);

/* Stores the summary if nothing was taken back since talk was opened. */
tf_pg_status_t tf_talk_keep(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_talk_t *talk);

void tf_talk_free(tf_talk_t *talk);


#endif /* TF_RAG_TALK_H */
