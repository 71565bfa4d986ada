#define _GNU_SOURCE     /* strcasestr() */

#include "cli/eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rag/answer.h"
#include "rag/evaluate.h"
#include "rag/search.h"


/*
 * answers: a file as SQuAD has it.  Each paragraph is a document; a question
 * is right when one of its known answers stands in what was answered.
 *
 * How well questions that cannot be answered are told from others is measured
 * on what retrieval would be without the article that a question is about (or
 * on those that the set itself calls impossible): the score is how sure the
 * best passage is.
 */

#define TF_SQUAD_PASSAGES  24

typedef struct {
    tf_eval_t          *e;
    tf_pg_pool_t       *pool;           /* what answers are made with */
    size_t              room;
    size_t              nasked;
    double             *answerable;     /* how sure, each question */
    double             *not_answerable;
    size_t              nanswerable;
    size_t              nnot;
    double             *ms;
    size_t              nms;
    size_t              first;          /* the known answer is there */
    size_t              any;
    size_t              abstained;      /* of those that can be answered */
    size_t              can;
    size_t              answered;       /* of those that cannot */
} tf_squad_t;


static int
tf_squad_documents(tf_squad_t *s, const json_t *data)
{
    char         source[64];
    size_t       a, p;
    json_t      *article, *paragraph;
    const char  *title, *text;

    json_array_foreach(data, a, article) {
        title = json_string_value(json_object_get(article, "title"));

        json_array_foreach(json_object_get(article, "paragraphs"), p,
                           paragraph)
        {
            text = json_string_value(json_object_get(paragraph, "context"));

            if (text == NULL) {
                return tf_cli_error(&s->e->cli, "\"%s\": a paragraph has no "
                                    "\"context\"", s->e->path);
            }

            (void) snprintf(source, sizeof(source), "%05zu/%05zu", a, p);

            if (tf_eval_ingest(s->e, source, title ? title : "", text) != 0) {
                return -1;
            }
        }
    }

    return 0;
}


/* Whether one of the known answers stands in the first len bytes. */

static int
tf_squad_holds(const char *text, size_t len, const json_t *answers)
{
    int          has;
    char        *copy;
    size_t       i;
    json_t      *answer;
    const char  *gold;

    copy = strndup(text, len);
    if (copy == NULL) {
        return 0;
    }

    has = 0;

    json_array_foreach(answers, i, answer) {
        gold = json_string_value(json_object_get(answer, "text"));

        if (gold != NULL && gold[0] && strcasestr(copy, gold) != NULL) {
            has = 1;
        }
    }

    free(copy);

    return has;
}


/* How sure it is with and without the question's own article. */

static int
tf_squad_sure(tf_squad_t *s, const char *question, size_t article,
    double *with, double *without)
{
    char             own[32];
    size_t           i;
    double           sure;
    tf_eval_t       *e;
    tf_rag_query_t   query;
    tf_pg_status_t   rc;
    tf_rag_found_t   found;
    tf_rag_vector_t  vector;

    e = s->e;

    if (tf_eval_vector(e, question, &vector) != 0) {
        tf_rag_vector_free(&vector);
        return -1;
    }

    memset(&query, 0, sizeof(query));
    query.vector = &vector;
    query.question = question;
    query.k = TF_SQUAD_PASSAGES;
    *with = 0;
    *without = 0;
    memset(&found, 0, sizeof(found));
    (void) snprintf(own, sizeof(own), "%05zu/", article);

    rc = tf_pg_begin_as(&e->pg, e->tenant, TF_EVAL_OWNER, "[]");

    if (rc == TF_PG_OK) {
        rc = tf_rag_search(&e->pg, &query, &found);
    }

    if (rc == TF_PG_OK) {
        rc = tf_rag_quotes(&e->pg, question, &found);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(&e->pg);
    }

    tf_rag_vector_free(&vector);

    if (rc != TF_PG_OK) {
        (void) tf_cli_error(&e->cli, "%s", e->pg.err);
        tf_pg_rollback(&e->pg);
        tf_rag_found_free(&found);
        return -1;
    }

    for (i = 0; i < found.nhits; i++) {
        sure = found.hits[i].sure;

        if (sure > *with) {
            *with = sure;
        }

        if (sure > *without
            && strncmp(found.hits[i].source, own, strlen(own)) != 0)
        {
            *without = sure;
        }
    }

    tf_rag_found_free(&found);

    return 0;
}


/* Whether it was answered without the vectors that it should have. */

static int
tf_squad_without(tf_eval_t *e, const tf_answer_t *answer)
{
    int          rc;
    json_t      *usage;
    const char  *error;

    usage = json_loadb(answer->usage.data, answer->usage.len, 0, NULL);
    error = json_string_value(json_object_get(json_object_get(usage,
                                                              "embedding"),
                                              "error"));
    rc = error == NULL ? 0
         : tf_cli_error(&e->cli, "a question could not be embedded by %s: %s; "
                        "the log says why", e->embed, error);
    json_decref(usage);

    return rc;
}


static int
tf_squad_answer(tf_squad_t *s, const char *question, const json_t *answers)
{
    atomic_int           cancel = 0;
    int64_t              began;
    const char          *mark, *text;
    tf_answer_t          answer;
    tf_answer_status_t   rc;
    tf_answer_request_t  request;

    memset(&request, 0, sizeof(request));
    request.conf = &s->e->conf;
    request.pool = s->pool;
    request.tenant = s->e->tenant;
    request.owner = TF_EVAL_OWNER;
    request.groups = "[]";
    request.question = question;
    request.model = s->e->model ? s->e->model : "extractive";
    request.models = s->e->models;
    request.attempt = 1;
    request.cancel = &cancel;

    began = tf_clock_us();
    rc = tf_rag_answer(&request, &answer);
    s->ms[s->nms++] = (double) (tf_clock_us() - began) / 1000;

    if (rc != TF_ANSWER_OK) {
        (void) tf_cli_error(&s->e->cli, "%s", answer.message);
        tf_rag_answer_free(&answer);
        return -1;
    }

    if (s->e->embed != NULL && tf_squad_without(s->e, &answer) != 0) {
        tf_rag_answer_free(&answer);
        return -1;
    }

    text = answer.body.data;
    s->can++;

    /* what has no citation quotes nothing */

    if (answer.citations.len <= 2) {
        s->abstained++;

    } else {
        mark = strstr(text, "[1]");
        s->first += mark != NULL
                    && tf_squad_holds(text, (size_t) (mark - text), answers);
        s->any += (size_t) tf_squad_holds(text, answer.body.len, answers);
    }

    tf_rag_answer_free(&answer);

    return 0;
}


static int
tf_squad_grow(tf_squad_t *s)
{
    size_t    i;
    double   *more, **lists[] = { &s->answerable, &s->not_answerable,
                                  &s->ms };

    if (s->nasked < s->room) {
        return 0;
    }

    s->room = s->room ? s->room * 2 : 1024;

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        more = realloc(*lists[i], s->room * sizeof(double));
        if (more == NULL) {
            return tf_cli_error(&s->e->cli, "out of memory");
        }
        *lists[i] = more;
    }

    return 0;
}


static int
tf_squad_question(tf_squad_t *s, const json_t *qa, size_t article)
{
    int          impossible;
    double       with, without;
    const char  *question;

    question = json_string_value(json_object_get(qa, "question"));

    if (question == NULL) {
        return tf_cli_error(&s->e->cli, "\"%s\": an entry of \"qas\" has no "
                            "\"question\"", s->e->path);
    }

    impossible = json_is_true(json_object_get(qa, "is_impossible"));

    if (tf_squad_grow(s) != 0
        || tf_squad_sure(s, question, article, &with, &without) != 0)
    {
        return -1;
    }

    s->nasked++;
    tf_eval_progress(s->e, "questions", s->nasked, 0);

    if (impossible) {
        without = with;
    }

    s->not_answerable[s->nnot++] = without;
    s->answered += without >= s->e->conf.answer_threshold;

    if (impossible) {
        return 0;
    }

    s->answerable[s->nanswerable++] = with;

    return tf_squad_answer(s, question, json_object_get(qa, "answers"));
}


static int
tf_squad_questions(tf_squad_t *s, const json_t *data)
{
    size_t   a, p, q;
    json_t  *article, *paragraph, *qa;

    json_array_foreach(data, a, article) {
        json_array_foreach(json_object_get(article, "paragraphs"), p,
                           paragraph)
        {
            json_array_foreach(json_object_get(paragraph, "qas"), q, qa) {

                if (s->e->limit && s->nasked == s->e->limit) {
                    return 0;
                }

                if (tf_squad_question(s, qa, a) != 0) {
                    return -1;
                }
            }
        }
    }

    return 0;
}


static void
tf_squad_report(tf_squad_t *s)
{
    double      n;
    tf_eval_t  *e;

    e = s->e;
    n = s->can ? (double) s->can : 1;

    tf_eval_count(e, "questions", s->nasked);
    tf_eval_say(e, "answer_in_first_quote", (double) s->first / n);
    tf_eval_say(e, "answer_in_answer", (double) s->any / n);
    tf_eval_say(e, "abstained", (double) s->abstained / n);
    tf_eval_say(e, "answered_anyway", (double) s->answered / (double) s->nnot);
    tf_eval_say(e, "abstention_auc",
                tf_eval_auc(s->answerable, s->nanswerable, s->not_answerable,
                            s->nnot));
    tf_eval_say(e, "answer_p50_ms", tf_eval_quantile(s->ms, s->nms, 0.5));
    tf_eval_say(e, "answer_p99_ms", tf_eval_quantile(s->ms, s->nms, 0.99));
}


int
tf_eval_answers(tf_eval_t *e)
{
    int            rc;
    int64_t        began;
    json_t        *root, *data;
    tf_squad_t     s;
    json_error_t   error;

    root = json_load_file(e->path, 0, &error);
    data = json_object_get(root, "data");

    if (!json_is_array(data)) {
        rc = tf_cli_error(&e->cli, "\"%s\" is no SQuAD file: %s", e->path,
                          root ? "it has no array \"data\"" : error.text);
        json_decref(root);
        return rc;
    }

    memset(&s, 0, sizeof(s));
    s.e = e;
    s.pool = tf_pg_pool_create(&e->conf, TF_PG_RAG, 1);

    began = tf_clock_ms();
    rc = s.pool != NULL ? tf_squad_documents(&s, data)
                        : tf_cli_error(&e->cli, "out of memory");

    if (rc == 0) {
        rc = tf_eval_ingested(e, began);
    }

    if (rc == 0) {
        rc = tf_eval_embed(e);
    }

    if (rc == 0) {
        rc = tf_squad_questions(&s, data);
    }

    if (rc == 0 && s.nasked == 0) {
        rc = tf_cli_error(&e->cli, "\"%s\" has no question", e->path);
    }

    if (rc == 0) {
        if (e->tty) {
            (void) fprintf(stderr, "\r\033[K");
        }

        tf_squad_report(&s);
    }

    if (s.pool != NULL) {
        tf_pg_pool_destroy(s.pool);
    }

    free(s.answerable);
    free(s.not_answerable);
    free(s.ms);
    json_decref(root);

    return rc;
}
