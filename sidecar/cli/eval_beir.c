#include "cli/eval.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rag/evaluate.h"


/*
 * retrieval: a folder as BEIR has it.  A document counts once, at the rank of
 * its best chunk.
 */

#define TF_BEIR_K       100

typedef struct {
    char    *query;
    char    *document;
    double   score;
} tf_qrel_t;

typedef struct {
    tf_eval_t  *e;
    tf_qrel_t  *qrels;
    size_t      nqrels;
    double      ndcg;
    double      recall;
    double      mrr;
} tf_beir_t;


/* Each line of a file of JSON objects; 0 or -1 (it has said why). */

static int
tf_beir_lines(tf_eval_t *e, const char *name,
    int (*line)(void *arg, const json_t *object), void *arg)
{
    int       rc;
    char      path[4096], *text;
    FILE     *f;
    size_t    size, n;
    ssize_t   len;
    json_t   *object;

    (void) snprintf(path, sizeof(path), "%s/%s", e->path, name);

    f = fopen(path, "r");
    if (f == NULL) {
        return tf_cli_error(&e->cli, "cannot read \"%s\": %s", path,
                            strerror(errno));
    }

    rc = 0;
    text = NULL;
    size = 0;
    n = 0;

    while (rc == 0 && (len = getline(&text, &size, f)) != -1) {
        n++;

        if (len > TF_EVAL_LINE_MAX) {
            rc = tf_cli_error(&e->cli, "%s:%zu: the line is too long", path,
                              n);
            break;
        }

        if (text[strspn(text, " \t\r\n")] == '\0') {
            continue;
        }

        object = json_loadb(text, (size_t) len, 0, NULL);

        if (!json_is_object(object)
            || !json_is_string(json_object_get(object, "_id"))
            || !json_is_string(json_object_get(object, "text")))
        {
            rc = tf_cli_error(&e->cli, "%s:%zu: no JSON object with \"_id\" "
                              "and \"text\"", path, n);

        } else {
            rc = line(arg, object);
        }

        json_decref(object);
    }

    free(text);
    (void) fclose(f);

    return rc;
}


static int
tf_beir_document(void *arg, const json_t *object)
{
    const char  *title;
    tf_beir_t   *b = arg;

    title = json_string_value(json_object_get(object, "title"));

    return tf_eval_ingest(b->e, json_string_value(json_object_get(object,
                                                                  "_id")),
                          title ? title : "",
                          json_string_value(json_object_get(object, "text")));
}


/* The name of the judgements: --split, "test", or the only file there is. */

static int
tf_beir_split(tf_eval_t *e, char *path, size_t size)
{
    int              n;
    DIR             *dir;
    char             only[256];
    size_t           len;
    struct dirent   *entry;

    if (e->split != NULL) {
        (void) snprintf(path, size, "%s/qrels/%s.tsv", e->path, e->split);
        return 0;
    }

    (void) snprintf(path, size, "%s/qrels", e->path);

    dir = opendir(path);
    if (dir == NULL) {
        return tf_cli_error(&e->cli, "cannot read \"%s\": %s", path,
                            strerror(errno));
    }

    n = 0;
    only[0] = '\0';

    while ((entry = readdir(dir)) != NULL) {
        len = strlen(entry->d_name);

        if (len > 4 && len < sizeof(only)
            && strcmp(entry->d_name + len - 4, ".tsv") == 0)
        {
            if (n == 0 || strcmp(entry->d_name, "test.tsv") == 0) {
                memcpy(only, entry->d_name, len + 1);
            }
            n++;
        }
    }

    (void) closedir(dir);

    if (n == 0 || (n > 1 && strcmp(only, "test.tsv") != 0)) {
        return tf_cli_error(&e->cli, n ? "several judgements in \"%s\": choose "
                            "one with --split" : "no judgements in \"%s\"",
                            path);
    }

    (void) snprintf(path, size, "%s/qrels/%s", e->path, only);

    return 0;
}


static int
tf_beir_order(const void *one, const void *two)
{
    const tf_qrel_t  *a = one, *b = two;

    return strcmp(a->query, b->query);
}


/* "query <tab> document <tab> score"; a first line of words is a header. */

static int
tf_beir_qrels(tf_beir_t *b)
{
    int         rc;
    char        path[4096], *text, *query, *document, *score, *end;
    FILE       *f;
    size_t      size, n, room;
    double      value;
    tf_qrel_t  *more;

    if (tf_beir_split(b->e, path, sizeof(path)) != 0) {
        return -1;
    }

    f = fopen(path, "r");
    if (f == NULL) {
        return tf_cli_error(&b->e->cli, "cannot read \"%s\": %s", path,
                            strerror(errno));
    }

    rc = 0;
    text = NULL;
    size = 0;
    room = 0;

    for (n = 1; rc == 0 && getline(&text, &size, f) != -1; n++) {
        query = strtok(text, "\t\r\n");
        document = strtok(NULL, "\t\r\n");
        score = strtok(NULL, "\t\r\n");
        value = score ? strtod(score, &end) : 0;

        if (query == NULL) {
            continue;
        }

        if (score == NULL || *end != '\0') {
            if (n > 1) {
                rc = tf_cli_error(&b->e->cli, "%s:%zu: three columns are "
                                  "expected: query, document, number", path,
                                  n);
            }
            continue;
        }

        if (b->nqrels == room) {
            room = room ? room * 2 : 1024;
            more = realloc(b->qrels, room * sizeof(tf_qrel_t));
            if (more == NULL) {
                rc = tf_cli_error(&b->e->cli, "out of memory");
                break;
            }
            b->qrels = more;
        }

        b->qrels[b->nqrels].query = strdup(query);
        b->qrels[b->nqrels].document = strdup(document);
        b->qrels[b->nqrels].score = value;

        if (b->qrels[b->nqrels].query == NULL
            || b->qrels[b->nqrels].document == NULL)
        {
            rc = tf_cli_error(&b->e->cli, "out of memory");
        }

        b->nqrels++;
    }

    free(text);
    (void) fclose(f);

    if (rc == 0 && b->nqrels == 0) {
        rc = tf_cli_error(&b->e->cli, "no judgement in \"%s\"", path);
    }

    if (rc == 0) {
        qsort(b->qrels, b->nqrels, sizeof(tf_qrel_t), tf_beir_order);
    }

    return rc;
}


/* Documents in the order of their best chunks, as gains. */

static size_t
tf_beir_gains(const tf_rag_found_t *found, const tf_qrel_t *qrels, size_t n,
    double *gains)
{
    size_t       i, k, rank, len;
    const char  *source, *seen[TF_BEIR_K];

    rank = 0;

    for (i = 0; i < found->nhits && rank < TF_BEIR_K; i++) {
        source = found->hits[i].source;

        for (k = 0; k < rank && strcmp(seen[k], source) != 0; k++) {
            /* void */
        }

        if (k < rank) {
            continue;
        }

        seen[rank] = source;
        gains[rank] = 0;
        len = strlen(source) - strlen(".txt");

        for (k = 0; k < n; k++) {
            if (strlen(qrels[k].document) == len
                && memcmp(qrels[k].document, source, len) == 0)
            {
                gains[rank] = qrels[k].score;
            }
        }

        rank++;
    }

    return rank;
}


static int
tf_beir_question(void *arg, const json_t *object)
{
    size_t           i, n, rank;
    double           gains[TF_BEIR_K], *ideal;
    tf_qrel_t        key, *first;
    tf_beir_t       *b = arg;
    tf_rag_found_t   found;

    if (b->e->limit && b->e->nasked == b->e->limit) {
        return 0;
    }

    key.query = (char *) json_string_value(json_object_get(object, "_id"));
    first = bsearch(&key, b->qrels, b->nqrels, sizeof(tf_qrel_t),
                    tf_beir_order);

    if (first == NULL) {
        return 0;       /* of another split */
    }

    while (first > b->qrels && strcmp(first[-1].query, key.query) == 0) {
        first--;
    }

    for (n = 0; first + n < b->qrels + b->nqrels
         && strcmp(first[n].query, key.query) == 0; n++)
    {
        /* void */
    }

    memset(&found, 0, sizeof(found));
    ideal = calloc(n, sizeof(double));

    if (ideal == NULL
        || tf_eval_search(b->e, json_string_value(json_object_get(object,
                                                                  "text")),
                          &found)
           != 0)
    {
        tf_rag_found_free(&found);
        free(ideal);
        return -1;
    }

    for (i = 0; i < n; i++) {
        ideal[i] = first[i].score;
    }

    rank = tf_beir_gains(&found, first, n, gains);

    b->ndcg += tf_eval_ndcg(gains, rank, ideal, n, 10);
    b->recall += tf_eval_recall(gains, rank, ideal, n, 100);
    b->mrr += tf_eval_rr(gains, rank, 10);

    tf_rag_found_free(&found);
    free(ideal);
    tf_eval_progress(b->e, "questions", b->e->nasked, 0);

    return 0;
}


int
tf_eval_retrieval(tf_eval_t *e)
{
    int        rc;
    double     n;
    size_t     i;
    int64_t    began;
    tf_beir_t  b;

    memset(&b, 0, sizeof(b));
    b.e = e;
    began = tf_clock_ms();

    rc = tf_beir_qrels(&b);

    if (rc == 0) {
        rc = tf_beir_lines(e, "corpus.jsonl", tf_beir_document, &b);
    }

    if (rc == 0) {
        rc = tf_eval_ingested(e, began);
    }

    if (rc == 0) {
        rc = tf_eval_embed(e);
    }

    if (rc == 0) {
        rc = tf_eval_index(e);
    }

    if (rc == 0) {
        rc = tf_beir_lines(e, "queries.jsonl", tf_beir_question, &b);
    }

    if (rc == 0 && e->nasked == 0) {
        rc = tf_cli_error(&e->cli, "no question of queries.jsonl has a "
                          "judgement");
    }

    if (rc == 0) {
        if (e->tty) {
            (void) fprintf(stderr, "\r\033[K");
        }

        n = (double) e->nasked;
        tf_eval_count(e, "questions", e->nasked);
        tf_eval_say(e, "ndcg_at_10", b.ndcg / n);
        tf_eval_say(e, "recall_at_100", b.recall / n);
        tf_eval_say(e, "mrr_at_10", b.mrr / n);
        tf_eval_searched(e);
    }

    for (i = 0; i < b.nqrels; i++) {
        free(b.qrels[i].query);
        free(b.qrels[i].document);
    }

    free(b.qrels);

    return rc;
}
