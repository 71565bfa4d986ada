#ifndef TF_CLI_EVAL_H
#define TF_CLI_EVAL_H


#include <jansson.h>

#include <trifecta/job.h>

#include "cli/cli.h"
#include "db/pg.h"
#include "llm/models.h"
#include "rag/ingest.h"
#include "rag/mem.h"
#include "rag/steps.h"
#include "rag/vectors.h"


/*
 * trifecta eval: how well retrieval and answers do on a set of questions
 * whose answers are known.
 *
 * The set's documents go through the real ingest into a tenant of their own,
 * "eval-<name>", which no token has, and the questions through the real
 * search under row-level security.  So nobody's documents are searched, and
 * nobody finds those of the set; and what somebody else put into that tenant
 * is seen, and removed, only if he lets everybody in it see it.
 *
 *   retrieval   a folder as BEIR has it: corpus.jsonl, queries.jsonl and
 *               qrels/<split>.tsv
 *   answers     a file as SQuAD has it (1.1 or 2.0)
 */

#define TF_EVAL_DOCUMENTS_MAX  1000000
#define TF_EVAL_LINE_MAX       (16 * 1024 * 1024)
#define TF_EVAL_SET_MAX        16
#define TF_EVAL_OWNER          "cli:eval"

typedef struct {
    tf_cli_t          cli;
    tf_conf_t         conf;
    tf_pg_t           pg;
    tf_rag_target_t   target;
    tf_rag_group_t   *group;
    char              tenant[TF_TENANT_MAX + 1];
    const char       *path;
    const char       *split;
    const char       *model;
    const char       *embed;        /* model that makes vectors, or NULL */
    const char       *set[TF_EVAL_SET_MAX];     /* "key=value" */
    size_t            nset;
    unsigned          limit;        /* questions; 0: all */
    int               json;
    int               keep;
    int               index;        /* rank with an index in memory */
    int               job;          /* search as a job does */
    const char       *rerank;       /* model that orders, or NULL */
    int               tty;

    tf_rag_mem_t     *mem;
    tf_llm_models_t  *models;
    size_t            documents;
    size_t            chunks;
    double            ingest_s;

    tf_rag_steps_t    steps;
    double           *ms;           /* of each search, without its models */
    size_t            nasked;
    size_t            room;
    json_t           *report;       /* name: number, in this order */
} tf_eval_t;


int tf_eval_retrieval(tf_eval_t *e);
int tf_eval_answers(tf_eval_t *e);

/* A document of the set; 0 or -1 (it has said why). */
int tf_eval_ingest(tf_eval_t *e, const char *source, const char *title,
    const char *text);

/* All are in: flushes, and says how fast that was. */
int tf_eval_ingested(tf_eval_t *e, int64_t began);

/*
 * An index in memory of what is in, if there shall be one: says how large it
 * is, and how long that took.
 */
int tf_eval_index(tf_eval_t *e);

/*
 * Vectors of what is in, made by e->embed, if there shall be some: says how
 * many, and how long that took.
 */
int tf_eval_embed(tf_eval_t *e);

/* That of a question; free it always.  Without e->embed it is empty. */
int tf_eval_vector(tf_eval_t *e, const char *question,
    tf_rag_vector_t *vector);

/*
 * A question's search: 400 passages, or with e->job what a job has of it; and
 * the order of e->rerank.  0 or -1 (it has said why).
 */
int tf_eval_search(tf_eval_t *e, const char *question,
    tf_rag_found_t *found);

/* How long the searches took, and what their steps cost on average. */
void tf_eval_searched(tf_eval_t *e);

/* Removes what tf_eval_embed() made. */
int tf_eval_embed_clean(tf_eval_t *e);

/* Says by what passages are found. */
void tf_eval_retrievers(tf_eval_t *e);

/* A figure of the report. */
void tf_eval_say(tf_eval_t *e, const char *name, double value);
void tf_eval_count(tf_eval_t *e, const char *name, size_t n);

/* On a terminal, about four times a second. */
void tf_eval_progress(tf_eval_t *e, const char *what, size_t done,
    size_t all);


#endif /* TF_CLI_EVAL_H */
