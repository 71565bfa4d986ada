#include <string.h>

#include "base/log.h"
#include "queue/emit.h"


/*
 * What a job has said, as PostgreSQL keeps it.  Events are cut into runs: a
 * run ends with a reset and with its attempt, and is void then; the last one
 * is the answer, or as much of it as there was.
 */

typedef struct {
    const tf_job_t   *job;
    const tf_emit_t  *e;
    json_t           *earlier;
    json_t           *marks;
    json_t           *pieces;       /* of the run */
    int               attempt;      /* of the run */
    int               searched;
    size_t            from;         /* of the run, in the text */
    int               failed;
} tf_emit_run_t;


/* The run is void; another one begins. */

static void
tf_emit_void(tf_emit_run_t *run, int attempt, size_t from)
{
    run->failed |= json_array_append_new(run->earlier, run->pieces) != 0
                   || json_array_append_new(run->marks,
                                            json_pack("[i, i]", run->attempt,
                                                      run->searched))
                      != 0;

    run->pieces = json_array();
    run->failed |= run->pieces == NULL;
    run->attempt = attempt;
    run->searched = 0;
    run->from = from;
}


static void
tf_emit_runs(tf_emit_run_t *run)
{
    size_t             from;
    unsigned           i;
    const tf_said_t   *said;

    run->attempt = run->e->n ? run->e->said[0].attempt : run->job->attempt;
    from = 0;

    for (i = 0; i < run->e->n; i++) {
        said = &run->e->said[i];

        if (said->attempt != run->attempt) {
            tf_emit_void(run, said->attempt, from);
        }

        switch (said->type) {

        case 's':
            run->searched = 1;
            break;

        case 'r':
            tf_emit_void(run, said->attempt, said->end);
            break;

        default: /* 'd' */
            run->failed |= json_array_append_new(run->pieces,
                               json_stringn(run->e->text.data + from,
                                            said->end - from))
                           != 0;
            break;
        }

        from = said->end;
    }

    if (run->attempt != run->job->attempt) {
        tf_emit_void(run, run->job->attempt, from);
    }
}


/* Where the pieces end in the body; NULL: it is one piece. */

static json_t *
tf_emit_deltas(tf_emit_run_t *run)
{
    size_t    i, end, len;
    json_t   *deltas;

    len = strlen(run->job->body);

    if (json_array_size(run->pieces) == 0) {
        return NULL;
    }

    if (run->e->cut - run->from > len
        || memcmp(run->e->text.data + run->from, run->job->body,
                  run->e->cut - run->from)
           != 0)
    {
        tf_log(TF_LOG_ERROR, "job %s has stored another answer than it "
               "said on its way: what it said is void", run->job->id);
        tf_emit_void(run, run->attempt, run->e->cut);
        return NULL;
    }

    deltas = json_array();
    end = 0;

    for (i = 0; i < json_array_size(run->pieces); i++) {
        end += json_string_length(json_array_get(run->pieces, i));
        run->failed |= json_array_append_new(deltas,
                                   json_integer((json_int_t) end)) != 0;
    }

    if (end < len) {
        run->failed |= json_array_append_new(deltas,
                                   json_integer((json_int_t) len)) != 0;
    }

    return deltas;
}


static int
tf_emit_any_search(const tf_emit_run_t *run)
{
    unsigned  i;

    for (i = 0; i < run->e->n; i++) {
        if (run->e->said[i].type == 's'
            && run->e->said[i].attempt == run->job->attempt)
        {
            return 1;
        }
    }

    return 0;
}


void
tf_emit_row(const tf_job_t *job, json_t *row)
{
    json_t         *deltas, *streamed;
    tf_emit_run_t   run;

    if (job->emit == NULL || job->emit->n == 0) {
        return;
    }

    memset(&run, 0, sizeof(run));
    run.job = job;
    run.e = job->emit;
    run.earlier = json_array();
    run.marks = json_array();
    run.pieces = json_array();
    run.failed = run.earlier == NULL || run.marks == NULL
                 || run.pieces == NULL;
    streamed = json_object();
    deltas = NULL;

    tf_emit_runs(&run);

    if (job->state == TF_JOB_SUCCEEDED && job->body != NULL) {
        deltas = tf_emit_deltas(&run);

    } else if (json_array_size(run.pieces) > 0) {
        run.failed |= json_object_set(streamed, "last", run.pieces) != 0;
    }

    if (tf_emit_any_search(&run)) {
        run.failed |= json_object_set_new(streamed, "search", json_true())
                      != 0;
    }

    if (json_array_size(run.earlier) > 0) {
        run.failed |= json_array_append_new(run.marks,
                                            json_pack("[i, i]", run.attempt,
                                                      run.searched))
                      != 0
                      || json_object_set(streamed, "earlier", run.earlier)
                         != 0
                      || json_object_set(streamed, "marks", run.marks) != 0;
    }

    if (run.failed) {
        tf_log(TF_LOG_WARN, "what job %s said on its way is not UTF-8, or "
               "memory is short: it is not stored", job->id);

    } else {
        if (deltas != NULL) {
            (void) json_object_set(row, "deltas", deltas);
        }

        if (json_object_size(streamed) > 0) {
            (void) json_object_set(row, "streamed", streamed);
        }
    }

    json_decref(deltas);
    json_decref(streamed);
    json_decref(run.earlier);
    json_decref(run.marks);
    json_decref(run.pieces);
}


size_t
tf_emit_size(const tf_job_t *job)
{
    return job->emit != NULL ? job->emit->text.len + 16 * job->emit->n : 0;
}
