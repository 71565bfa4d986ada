#ifndef TF_QUEUE_BORN_H
#define TF_QUEUE_BORN_H


#include "queue/job.h"
#include "queue/redis.h"


/*
 * The delivery of an end to its client's URL is a job of kind "webhook".
 *
 * Its row is made by a trigger (migrations/, "webhooks") in the transaction
 * that ends the job, whoever ends it: so there is no end without it.  Its id
 * follows from the job's, so that it is there once, and can be named without
 * a look: the time, the shard and the four random bits of the job, then 60
 * bits of SHA-256 of "webhook <id>".  Its request is {"job": "<id>"}; URL and
 * answer are read when it is delivered.
 *
 * Redis is told of it by whoever ended the job, with "restore", which does
 * nothing where it is known; if that fails or its process dies, the
 * reconciler finds the open row.
 */

/* Whether the request (the payload's text) may name a URL. */
int tf_born_wanted(const char *payload);

/* The id of the delivery; text has TF_ID_TEXT_LEN + 1 bytes.  0 or -1 */
int tf_born_id(const char *job, char *text);

/* "restore" of the delivery of a job: 0, or -1.  Free cmd always. */

typedef struct {
    const char  *id;
    const char  *tenant;
    const char  *owner;
    const char  *request_id;
    int64_t      now;               /* ms, by Redis' clock */
} tf_born_t;

int tf_born_cmd(const tf_born_t *job, const char *prefix, tf_cmd_t *cmd);


#endif /* TF_QUEUE_BORN_H */
