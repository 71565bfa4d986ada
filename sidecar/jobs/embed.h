#ifndef TF_JOBS_EMBED_H
#define TF_JOBS_EMBED_H


#include "db/pg.h"
#include "rag/sets.h"


/*
 * Jobs of kind "embed": each embeds passages of one owner for one set, one
 * part of several, for about a minute, and then leaves the rest to a job that
 * it submits; so questions, which come first, never wait for long behind
 * them.  The payload: {"set", "part", "parts", "after"}.
 */

#define TF_EMBED_PARTS_MAX  64

/* Submits a job for each part: 0, or -1 with a message in err. */
int tf_embed_submit(const tf_conf_t *conf, const char *tenant,
    const char *owner, int set, unsigned parts, char *err, size_t errlen);

/* One part, from a chunk on. */
int tf_embed_submit_one(const tf_conf_t *conf, const char *tenant,
    const char *owner, int set, const tf_rag_slice_t *slice, char *err,
    size_t errlen);

/*
 * After documents of this owner came into a collection: a job for each set
 * that wants them.  Returns how many, or -1 with a message in err; the
 * documents can be found by their words anyway.
 */
int tf_embed_after(tf_pg_t *pg, const char *tenant, const char *owner,
    int collection, char *err, size_t errlen);


#endif /* TF_JOBS_EMBED_H */
