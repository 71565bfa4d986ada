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
 * A question may also bring along what was said before: "turns", messages
 * [{"role": "user" or "assistant", "content": "..."}, ...] with calls of tools
 * and their results (llm/after.h) among them, and "previous",
 * the job that it goes on with, which may go on with another one.  That chain
 * is followed through jobs of the same owner that succeeded, as far as
 * TF_TALK_TURNS turns and TF_TALK_TOLD_MAX bytes; what he may not read, or is
 * deleted, ends it.  Of such turns the newest that fit are told, at most half
 * of what the model can take, and none are summarised.  Who asked for the
 * whole of them ("truncation": "disabled") gets no answer then.
 *
 * Then the model puts the question so that it stands alone, for the search.
 * Neither may fail a question: what cannot be had in time is done without.
 */

#define TF_TALK_ID_MAX        64
#define TF_TALK_TURNS         32        /* that are looked at */
#define TF_TALK_QUESTION_MAX  1000      /* bytes of a turn */
#define TF_TALK_ANSWER_MAX    2000
#define TF_TALK_TOLD_MAX      65536     /* of all that a question brings */
#define TF_TALK_SUMMARY_MAX   2000
#define TF_TALK_RESTATED_MAX  2000

typedef struct {
    tf_llm_turn_t   turns[TF_TALK_TURNS];   /* oldest first */
    char            ids[TF_TALK_TURNS][40];
    size_t          nturns;
    size_t          first;      /* of those that are told as they are */
    int             told;       /* by the question: no conversation's */
    int             cut;        /* something that it told is left out */
    char            version[24];
    tf_buf_t        summary;    /* of what was before the first, or empty */
    tf_buf_t        restated;   /* or empty */
    long long       input_tokens;       /* that this took */
    long long       output_tokens;
} tf_talk_t;


/* Reads it, in a transaction of its own; talk is zeroed before. */
tf_pg_status_t tf_talk_open(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);

/*
 * Reads what the question itself brings along, behind that; in a transaction
 * of its own.  Without "previous" nothing is read and pg may be NULL.
 */
tf_pg_status_t tf_talk_tell(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);

/* Nothing was said before, or nothing of it may be told. */
int tf_talk_empty(const tf_talk_t *talk);

/* What a model does for it; 1: there is a new summary to be kept. */
int tf_talk_summarise(const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);
void tf_talk_restate(const tf_answer_request_t *request,
    const tf_llm_model_t *model, tf_talk_t *talk);

/* Stores the summary if nothing was taken back since talk was opened. */
tf_pg_status_t tf_talk_keep(tf_pg_t *pg, const tf_answer_request_t *request,
    const tf_talk_t *talk);

void tf_talk_free(tf_talk_t *talk);


/*
 * A text of a turn, which the caller frees: at most max bytes of it, in whole
 * characters.  Without marks: those of an answer meant the passages of its
 * turn.
 */
char *tf_talk_text(const char *text, size_t max, int marks);

/* The models that see no collection which this one may not see, an array. */
void tf_talk_models(const tf_llm_models_t *models,
    const tf_llm_model_t *model, tf_buf_t *names);

tf_pg_status_t tf_talk_no_memory(tf_pg_t *pg);


#endif /* TF_RAG_TALK_H */
