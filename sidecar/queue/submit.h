#ifndef TF_QUEUE_SUBMIT_H
#define TF_QUEUE_SUBMIT_H


#include <trifecta/id.h>

#include "base/conf.h"
#include "queue/redis.h"


/*
 * A new job that no request made: from a command, or from another job.  It
 * goes through the same function in Redis as those of the API, and is a job
 * like any other from then on.  No bound of open jobs holds it up.
 *
 * The key of job ids must be there (id_key_file), the same that nginx has.
 */

typedef struct {
    const char  *tenant;
    const char  *owner;
    const char  *groups;        /* JSON array */
    const char  *scopes;        /* JSON array */
    const char  *kind;          /* a word of TF_JOB_KINDS */
    const char  *model;
    const char  *prio;          /* NULL: that of the kind */
    const char  *payload;       /* JSON object */
    const char  *fp;            /* "" when nothing repeats it */
    const char  *retry_of;      /* or NULL */
} tf_submit_t;

/*
 * Makes its id, whose shard is that of the tenant among n, into text.  0, or
 * -1 with a message in err.
 */
int tf_submit_id(const tf_conf_t *conf, const tf_submit_t *job, unsigned n,
    char text[TF_ID_TEXT_LEN + 1], unsigned *shard, char *err,
    size_t errlen);

/*
 * The same for many: the keys once (wipe them afterwards), then an id each; 0
 * or -1.
 */
int tf_submit_keys(const tf_conf_t *conf, tf_id_keys_t *keys, char *err,
    size_t errlen);
int tf_submit_id_by(const tf_id_keys_t *keys, const tf_submit_t *job,
    unsigned n, char text[TF_ID_TEXT_LEN + 1], unsigned *shard);

/* "submit" of it; 0, or -1 when its kind is unknown.  Free cmd always. */
int tf_submit_cmd(const tf_submit_t *job, const char *prefix, const char *id,
    tf_cmd_t *cmd);

/* All of it, over a connection of its own: 0, or -1 and a message. */
int tf_submit(const tf_conf_t *conf, const tf_submit_t *job,
    char id[TF_ID_TEXT_LEN + 1], char *err, size_t errlen);


#endif /* TF_QUEUE_SUBMIT_H */
