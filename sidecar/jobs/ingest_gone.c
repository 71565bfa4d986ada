#include "jobs/ingest.h"

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
                        tf_ingest_gone_one, ij);
}
