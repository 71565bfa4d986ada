#include "cli/eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <trifecta/job.h>

#include "base/buf.h"
#include "base/clock.h"


#define TF_EVAL_INDEX_MS  600000

enum {
    OPT_SPLIT = 1, OPT_LIMIT, OPT_MODEL, OPT_SET, OPT_JSON, OPT_KEEP,
    OPT_INDEX, OPT_EMBED, OPT_JOB, OPT_RERANK
};

static const tf_cli_option_t  tf_eval_options[] = {
    { "split", OPT_SPLIT, "NAME", "which judgements, qrels/NAME.tsv (test, "
      "else the only ones there are)" },
    { "model", OPT_MODEL, "NAME", "who answers (extractive)" },
    { "embed", OPT_EMBED, "NAME", "with vectors that this model of kind "
      "embedding makes" },
    { "limit", OPT_LIMIT, "N", "only the first N questions" },
    { "set", OPT_SET, "SETTING", "key=value: another value of a key of the "
      "configuration, such as weight_ngrams=0; may come several times" },
    { "json", OPT_JSON, NULL, "one JSON object instead of a table" },
    { "keep", OPT_KEEP, NULL, "leave the documents in the store, for the next "
      "run" },
    { "index", OPT_INDEX, NULL, "retrieval: rank with an index in memory, as a "
      "sidecar does with a large collection" },
    { "job", OPT_JOB, NULL, "retrieval: search as a job does, for 24 passages "
      "and what of them can be quoted, and say what each step costs" },
    { "rerank", OPT_RERANK, "NAME", "retrieval: the first 24 passages in the "
      "order that this model of kind rerank gives them" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_eval_usage = {
    "eval",
    "retrieval FOLDER | answers FILE",
    "Measures retrieval or answers on questions whose answers are known.\n"
    "\n"
    "retrieval takes a folder as BEIR has it (corpus.jsonl, queries.jsonl,\n"
    "qrels/NAME.tsv) and says nDCG@10, recall@100 and MRR@10. answers takes a\n"
    "file as SQuAD has it and says how often the known answer stands in the\n"
    "first quotation and in all of them, how well answerable questions are\n"
    "told from others, and with --model how often the answer holds it.\n"
    "\n"
    "The documents go through the real ingest into a tenant of their own that\n"
    "no token has, the questions through the real search; the documents are\n"
    "removed afterwards unless --keep is given.\n",
    tf_eval_options,
    NULL,
    "  trifecta eval retrieval scifact/ --split train\n"
    "  trifecta eval answers xquad.en.json --json\n"
};


void
tf_eval_say(tf_eval_t *e, const char *name, double value)
{
    (void) json_object_set_new(e->report, name, json_real(value));
}


void
tf_eval_count(tf_eval_t *e, const char *name, size_t n)
{
    (void) json_object_set_new(e->report, name, json_integer((json_int_t) n));
}


void
tf_eval_progress(tf_eval_t *e, const char *what, size_t done, size_t all)
{
    if (e->tty && (done % 64 == 0 || done == all)) {
        (void) fprintf(stderr, "\r%s %zu", what, done);

        if (all) {
            (void) fprintf(stderr, " of %zu", all);
        }

        (void) fprintf(stderr, done == all ? "\r\033[K" : "");
        (void) fflush(stderr);
    }
}


int
tf_eval_ingest(tf_eval_t *e, const char *source, const char *title,
    const char *text)
{
    int       rc;
    char      name[256];
    tf_buf_t  all = TF_BUF_INIT;

    if (e->documents == TF_EVAL_DOCUMENTS_MAX) {
        return tf_cli_error(&e->cli, "more than %d documents",
                            TF_EVAL_DOCUMENTS_MAX);
    }

    (void) snprintf(name, sizeof(name), "%.240s.txt", source);

    if (title[0]) {
        tf_buf_printf(&all, "%s\n\n", title);
    }

    tf_buf_printf(&all, "%s\n", text);

    if (all.failed) {
        return tf_cli_error(&e->cli, "out of memory");
    }

    rc = tf_rag_group_add(e->group, source, name, all.data, all.len);
    tf_buf_free(&all);

    return rc;
}


/* What became of a document; its path is its name in the set. */

static void
tf_eval_outcome(void *ctx, const char *path, const char *source,
    tf_ingest_t outcome, const tf_ingest_count_t *count, const char *err)
{
    tf_eval_t  *e = ctx;

    (void) source;

    if (outcome == TF_INGEST_FAILED) {
        (void) tf_cli_error(&e->cli, "%s", err);
        return;
    }

    if (outcome == TF_INGEST_REFUSED || outcome == TF_INGEST_OTHER) {
        (void) tf_cli_error(&e->cli, "document \"%.100s\" is left out: %s",
                            path, err);
        return;
    }

    e->documents++;
    e->chunks += count->written + count->kept;
    tf_eval_progress(e, "documents", e->documents, 0);
}


int
tf_eval_ingested(tf_eval_t *e, int64_t began)
{
    if (tf_rag_group_flush(e->group) != 0) {
        return -1;
    }

    if (tf_rag_target_flush(&e->pg, &e->target) != TF_PG_OK) {
        return tf_cli_error(&e->cli, "%s", e->pg.err);
    }

    if (e->documents == 0) {
        return tf_cli_error(&e->cli, "there is no document in \"%s\"",
                            e->path);
    }

    if (e->tty) {
        (void) fprintf(stderr, "\r\033[K");
    }

    e->ingest_s = (double) (tf_clock_ms() - began) / 1000;
    tf_eval_count(e, "documents", e->documents);
    tf_eval_count(e, "chunks", e->chunks);
    tf_eval_say(e, "ingest_seconds", e->ingest_s);

    return 0;
}


int
tf_eval_index(tf_eval_t *e)
{
    int64_t          began, end;
    tf_mem_entry_t  *entry;

    if (!e->index) {
        return 0;
    }

    e->conf.index_from = 1;
    e->mem = e->conf.index_memory ? tf_rag_mem_start(&e->conf) : NULL;

    if (e->mem == NULL) {
        return tf_cli_error(&e->cli, "there is no index in memory: see "
                            "index_memory");
    }

    began = tf_clock_ms();
    end = began + TF_EVAL_INDEX_MS;
    tf_rag_mem_wish(e->mem, e->target.collection_id, e->tenant);

    for ( ;; ) {
        entry = tf_mem_shelf_get(&e->mem->shelf, e->target.collection_id,
                                 tf_clock_ms());

        if (entry != NULL || atomic_load(&e->mem->refused)
            || tf_clock_ms() > end)
        {
            break;
        }

        (void) usleep(20000);
    }

    if (entry == NULL) {
        return tf_cli_error(&e->cli, "the index could not be built");
    }

    tf_eval_count(e, "index_bytes", entry->bytes);
    tf_eval_say(e, "index_seconds", (double) (tf_clock_ms() - began) / 1000);
    tf_mem_shelf_put(&e->mem->shelf, entry);

    return 0;
}


/* "path/to/scifact/" is "scifact"; only what a tenant's name may have. */

static void
tf_eval_name(tf_eval_t *e)
{
    size_t       len, n;
    const char  *p;

    len = strlen(e->path);

    while (len > 1 && e->path[len - 1] == '/') {
        len--;
    }

    for (p = e->path + len; p > e->path && p[-1] != '/'; p--) {
        /* void */
    }

    len -= (size_t) (p - e->path);
    n = (size_t) snprintf(e->tenant, sizeof(e->tenant), "eval-%.*s",
                          (int) (len > 48 ? 48 : len), p);

    while (n-- > 0) {
        if ((unsigned char) e->tenant[n] <= ' ' || e->tenant[n] == 0x7f) {
            e->tenant[n] = '_';
        }
    }
}


static void
tf_eval_print(const tf_eval_t *e)
{
    char        *text;
    json_t      *value;
    const char  *name;

    if (e->json) {
        text = json_dumps(e->report, JSON_REAL_PRECISION(6));
        (void) printf("%s\n", text ? text : "{}");
        free(text);
        return;
    }

    json_object_foreach(e->report, name, value) {
        if (json_is_string(value)) {
            (void) printf("%-24s %s\n", name, json_string_value(value));

        } else if (json_is_integer(value)) {
            (void) printf("%-24s %lld\n", name,
                          (long long) json_integer_value(value));

        } else {
            (void) printf("%-24s %.4f\n", name, json_real_value(value));
        }
    }
}


/* Nobody wants to read of each document that was removed. */

static void
tf_eval_gone(void *ctx, const char *source)
{
    (void) ctx;
    (void) source;
}


static int
tf_eval_run(tf_eval_t *e, int answers)
{
    int   rc;
    char  err[512];

    tf_eval_name(e);
    e->target.tenant = e->tenant;
    e->target.owner = TF_EVAL_OWNER;
    e->target.collection = "eval";
    e->target.language = e->conf.language;
    e->target.visibility = "tenant";
    e->target.groups = "";
    e->target.lazy = 1;
    e->target.connections = 2;
    tf_limits_default(&e->target.limits);

    e->conf.answer_cache = 0;       /* each question is answered anew */

    e->models = tf_llm_models_load(e->conf.models, err, sizeof(err));
    if (e->models == NULL) {
        (void) tf_cli_error(&e->cli, "%s", err);
        return TF_CLI_FAILED;
    }

    tf_pg_init(&e->pg, &e->conf, TF_PG_RAG);
    e->report = json_object();
    (void) json_object_set_new(e->report, "set", json_string(e->path));

    if (tf_rag_target_open(&e->pg, &e->target) != TF_PG_OK) {
        rc = tf_cli_error(&e->cli, "%s", e->pg.err);

    } else if ((e->group = tf_rag_group_create(&e->pg, &e->target,
                                               tf_eval_outcome, e))
               == NULL)
    {
        rc = tf_cli_error(&e->cli, "out of memory");

    } else {
        tf_eval_retrievers(e);
        rc = answers ? tf_eval_answers(e) : tf_eval_retrieval(e);
    }

    if (rc == 0) {
        tf_eval_print(e);
    }

    if (e->group != NULL) {
        tf_rag_group_free(e->group);
    }

    if (!e->keep && tf_rag_prune(&e->pg, &e->target, "{}", 1,
                                 NULL, tf_eval_gone, NULL)
                    != TF_PG_OK)
    {
        rc = tf_cli_error(&e->cli, "the documents could not be removed: %s",
                          e->pg.err);

    } else if (!e->keep && tf_eval_embed_clean(e) != 0) {
        rc = -1;
    }

    tf_rag_steps_free(&e->steps);
    free(e->ms);
    tf_rag_mem_stop(e->mem);
    tf_llm_models_free(e->models);
    json_decref(e->report);
    tf_pg_close(&e->pg);

    return rc == 0 && fflush(stdout) == 0 ? TF_CLI_OK : TF_CLI_FAILED;
}


int
tf_cli_eval(int argc, char **argv)
{
    int         c, answers, rc;
    long        n;
    char       *end, err[512];
    size_t      i;
    tf_eval_t   e;

    memset(&e, 0, sizeof(e));
    tf_cli_begin(&e.cli, &tf_eval_usage, argc, argv);

    while ((c = tf_cli_next(&e.cli)) > 0) {
        switch (c) {

        case OPT_SPLIT:
            e.split = e.cli.value;
            break;

        case OPT_MODEL:
            e.model = e.cli.value;
            break;

        case OPT_EMBED:
            e.embed = e.cli.value;
            break;

        case OPT_LIMIT:
            n = strtol(e.cli.value, &end, 10);
            if (*end != '\0' || n < 1 || n > 10000000) {
                return tf_cli_misuse(&e.cli, "--limit wants a number of "
                                     "questions, not \"%s\"", e.cli.value);
            }
            e.limit = (unsigned) n;
            break;

        case OPT_SET:
            if (e.nset == TF_EVAL_SET_MAX) {
                return tf_cli_misuse(&e.cli, "--set may come %d times at "
                                     "most", TF_EVAL_SET_MAX);
            }
            e.set[e.nset++] = e.cli.value;
            break;

        case OPT_JSON:
            e.json = 1;
            break;

        case OPT_KEEP:
            e.keep = 1;
            break;

        case OPT_INDEX:
            e.index = 1;
            break;

        case OPT_JOB:
            e.job = 1;
            break;

        case OPT_RERANK:
            e.rerank = e.cli.value;
            break;
        }
    }

    if (c < 0) {
        return e.cli.status;
    }

    if (e.cli.argc != 2) {
        return tf_cli_misuse(&e.cli, "say what to measure, retrieval or "
                             "answers, and with which set");
    }

    answers = strcmp(e.cli.argv[0], "answers") == 0;
    e.path = e.cli.argv[1];

    if (!answers && strcmp(e.cli.argv[0], "retrieval") != 0) {
        return tf_cli_misuse(&e.cli, "retrieval or answers can be measured, "
                             "not \"%s\"", e.cli.argv[0]);
    }

    if (answers ? e.split != NULL : e.model != NULL) {
        return tf_cli_misuse(&e.cli, "--split is for retrieval, --model for "
                             "answers");
    }

    if (answers && (e.job || e.rerank != NULL)) {
        return tf_cli_misuse(&e.cli, "--job and --rerank are for retrieval: "
                             "answers are made as a job makes them");
    }

    if (tf_cli_conf(&e.cli, &e.conf) != 0) {
        return e.cli.status;
    }

    for (i = 0; i < e.nset; i++) {
        if (tf_conf_set(&e.conf, e.set[i], err, sizeof(err)) != 0) {
            tf_conf_free(&e.conf);
            return tf_cli_misuse(&e.cli, "--set: %s", err);
        }
    }

    e.tty = isatty(STDERR_FILENO);
    rc = tf_eval_run(&e, answers);
    tf_conf_free(&e.conf);

    return rc;
}
