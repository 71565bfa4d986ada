#ifndef NGX_HTTP_TRIFECTA_ENQUEUE_H_INCLUDED
#define NGX_HTTP_TRIFECTA_ENQUEUE_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_routes.h"


/*
 * The one way from a checked request to a job, whatever its shape.
 *
 *   submit_create ──> the face writes the payload ──> enqueue
 *                                                       │ one FCALL
 *          face->accepted  <── it is in the queue ──────┤
 *          face->before    <── an earlier request ──────┤
 *          429, 503, 504   <── it is not, or unknown ───┘
 *
 * All checks come before anything is sent: what was refused has touched no
 * store.  Then one FCALL decides; it is sent again once, with the same id,
 * when its connection breaks before the reply.  A failure is
 *   503  when no byte of it has left: it did not happen
 *   504  when some have: nobody knows, and the Location says where to look;
 *        also when the job is there and too few replicas have it
 *
 * A face is what differs between the ways in: the kind of job, the route
 * whose keys and limits count, where the job is looked at, and the answers.
 * Both answers are for the job of the context and return NGX_DONE when they
 * come later, from an event that finalizes the request, else their value.
 */

typedef enum {
#define NGX_HTTP_TRIFECTA_KIND(name, word, prio, limit, ...)                  \
    NGX_HTTP_TRIFECTA_KIND_##name,
    TF_JOB_KINDS(NGX_HTTP_TRIFECTA_KIND)
#undef NGX_HTTP_TRIFECTA_KIND
    NGX_HTTP_TRIFECTA_NKINDS
} ngx_http_trifecta_kind_e;


typedef struct ngx_http_trifecta_submit_s  ngx_http_trifecta_submit_t;

typedef struct {
    ngx_http_trifecta_kind_e     kind;
    const char                  *route;

    ngx_int_t                  (*path)(ngx_http_request_t *r, ngx_str_t *id,
                                       ngx_str_t *path);

    /* accepted just now, at that time (ms), behind so many other jobs */
    ngx_int_t                  (*accepted)(ngx_http_trifecta_submit_t *submit,
                                           int64_t ms, int64_t position);

    /* accepted by an earlier request, of which this is a repetition */
    ngx_int_t                  (*before)(ngx_http_trifecta_submit_t *submit);
} ngx_http_trifecta_face_t;


struct ngx_http_trifecta_submit_s {
    ngx_http_trifecta_op_t           op;
    const ngx_http_trifecta_face_t  *face;
    void                            *data;      /* of the face */
    ngx_http_trifecta_shard_t       *shard;
    ngx_str_t                        path;      /* of the job */
    ngx_str_t                        model;     /* at first the default one */
    ngx_http_trifecta_json_t         payload;   /* the face writes it */
};


/*
 * A job with an id, which is the context's from now on, and an empty payload
 * with room for so many bytes.  NULL: no memory.
 */
ngx_http_trifecta_submit_t *ngx_http_trifecta_submit_create(
    ngx_http_request_t *r, const ngx_http_trifecta_face_t *face, size_t size);

/* A checked value as a member of the payload, if it is there. */
void ngx_http_trifecta_submit_value(ngx_http_trifecta_json_t *payload,
    const char *head, json_t *value);

/*
 * Gives the job to Redis.  The text is what a repetition with the same
 * Idempotency-Key must have, too.  NGX_DONE: the answer comes later, and the
 * caller holds the request.
 */
ngx_int_t ngx_http_trifecta_enqueue(ngx_http_trifecta_submit_t *submit,
    ngx_str_t *text);

/* The body is JSON, and the Idempotency-Key is good: NGX_DECLINED. */
ngx_int_t ngx_http_trifecta_submit_check(ngx_http_request_t *r);


/* enqueued.c: the answer of the queue, and that it cannot be asked */

void ngx_http_trifecta_enqueued(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
ngx_int_t ngx_http_trifecta_not_enqueued(ngx_http_request_t *r);


#endif /* NGX_HTTP_TRIFECTA_ENQUEUE_H_INCLUDED */
