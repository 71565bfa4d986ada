#include "jobs/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/text.h"
#include "rag/array.h"
#include "rag/search.h"


/*
 * With "delete": documents whose file was not in the folder when the job was
 * made are removed, unless they were written since.  A file that is there and
 * cannot be read keeps its document; when not even the list of files is
 * whole, all of them stay.
 */


void
tf_ingest_present(tf_ingest_job_t *ij, const char *source)
{
    if (ij->remove && tf_utf8_valid(source, strlen(source)) == strlen(source))
    {
        tf_array_text(&ij->present, source, strlen(source));
    }
}


/*
 * What the folder had besides, as the command stored it behind the last file:
 * each name with a NUL.
 */

tf_pg_status_t
tf_ingest_present_load(tf_ingest_job_t *ij)
{
    char              *data, *s;
    tf_pg_status_t     rc;
    tf_stored_file_t  *file;

    file = &ij->files[ij->nfiles - 1];

    rc = tf_files_get(ij->pg, &ij->of, (int) ij->nfiles - 1, file->bytes,
                      &data);
    if (rc != TF_PG_OK) {
        return rc;
    }

    if (data == NULL) {
        ij->partial = 1;
    }

    for (s = data; data != NULL && s < data + file->bytes;
         s += strlen(s) + 1)
    {
        tf_ingest_present(ij, s);
    }

    free(data);
    free(file->source);
    ij->nfiles--;

    return TF_PG_OK;
}


/*
 * What a transaction removes is a step of the job, so that the attempt that
 * tells it knows what those before it have removed.
 */

static tf_pg_status_t
tf_ingest_going(void *ctx, tf_pg_t *pg, const PGresult *rows)
{
    int               i, n;
    char              step[TF_INGEST_STEP_MAX], *text;
    json_t           *names, *output;
    tf_pg_status_t    rc;
    tf_ingest_job_t  *ij = ctx;

    n = PQntuples(rows);
    names = json_array();

    for (i = 0; i < n && i < TF_INGEST_TOLD; i++) {
        (void) json_array_append_new(names,
                                     json_string(PQgetvalue(rows, i, 1)));
    }

    output = json_pack("{s:i, s:o}", "removed", n, "sources", names);
    text = output == NULL ? NULL : json_dumps(output, JSON_COMPACT);
    json_decref(output);

    if (text == NULL) {
        return tf_rag_no_memory(pg);
    }

    (void) snprintf(step, sizeof(step), TF_INGEST_REMOVED "%s",
                    PQgetvalue(rows, 0, 0));

    rc = tf_ingest_step_write(ij, pg, step, text);
    free(text);

    return rc;
}


/* What attempts before have removed. */

static void
tf_ingest_gone_before(tf_ingest_job_t *ij)
{
    size_t       i, told;
    json_t      *output, *names, *name;
    const char  *step;

    json_object_foreach(ij->steps, step, output) {
        if (strncmp(step, TF_INGEST_REMOVED, sizeof(TF_INGEST_REMOVED) - 1)
            != 0)
        {
            continue;
        }

        told = ij->removed;
        ij->removed += (size_t) json_integer_value(json_object_get(output,
                                                                   "removed"));
        names = json_object_get(output, "sources");

        json_array_foreach(names, i, name) {
            if (told + i < TF_INGEST_TOLD && json_is_string(name)) {
                tf_buf_printf(&ij->told, "removed %s\n",
                              json_string_value(name));
            }
        }
    }
}


static void
tf_ingest_gone_one(void *ctx, const char *source)
{
    tf_ingest_job_t  *ij = ctx;

    if (ij->removed++ < TF_INGEST_TOLD) {
        tf_buf_printf(&ij->told, "removed %s\n", source);
    }
}


tf_pg_status_t
tf_ingest_gone(tf_ingest_job_t *ij)
{
    tf_ingest_gone_before(ij);

    if (ij->partial) {
        tf_buf_puts(&ij->told, "nothing is removed, because not everything in "
                    "the folder can be read\n");
        return TF_PG_OK;
    }

    tf_array_close(&ij->present);

    if (ij->present.failed) {
        return tf_rag_no_memory(ij->pg);
    }

    return tf_rag_prune(ij->pg, &ij->target, ij->present.data, 1,
                        tf_ingest_going, tf_ingest_gone_one, ij);
}
