#ifndef NGX_HTTP_TRIFECTA_H_INCLUDED
#define NGX_HTTP_TRIFECTA_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <jansson.h>

#include <trifecta/error.h>
#include <trifecta/id.h>
#include <trifecta/job.h>
#include <trifecta/keys.h>
#include <trifecta/trace.h>

#include "ngx_http_trifecta_jwt.h"


/*
 * The edge, and who holds what.
 *
 * - The main configuration (one for http{}) holds what the directives said
 *   and, from init_process on, a pointer to the worker: the connections
 *   of this worker process, the tokens that it remembers and the rest that is
 *   its own; the keys of ids are made ready then.  Nothing else is mutable.
 * - The location configuration says what a location is: the API, the admin
 *   pages, or something else whose requests need a verified token.
 * - The context belongs to one main request.  It is made at the first
 *   ngx_http_trifecta_get_ctx(), survives internal redirects and subrequests,
 *   and carries the request's id and what the token said.
 *
 * The way of a request: auth (PREACCESS phase) fills the context from the
 * token; the content handler finds the row of the route table; the row's
 * handler starts an operation on Redis or PostgreSQL and returns; the answer
 * of the store calls it back; reply.c writes the response.  No step blocks.
 *
 * Every answer, good or bad, is written by reply.c.  A handler in a phase or
 * in the content phase returns what ngx_http_trifecta_error() or
 * ngx_http_trifecta_reply() returned; code that runs later, in an event of a
 * store or after the body, hands that value to ngx_http_trifecta_finalize()
 * and must not touch the request afterwards.
 */


#define NGX_HTTP_TRIFECTA_NONE   0      /* what a location is */
#define NGX_HTTP_TRIFECTA_API    1
#define NGX_HTTP_TRIFECTA_ADMIN  2
#define NGX_HTTP_TRIFECTA_STATUS 3


typedef struct ngx_http_trifecta_worker_s   ngx_http_trifecta_worker_t;
typedef struct ngx_http_trifecta_metrics_s  ngx_http_trifecta_metrics_t;
typedef struct ngx_http_trifecta_shard_s    ngx_http_trifecta_shard_t;
typedef struct ngx_http_trifecta_webhooks_s ngx_http_trifecta_webhooks_t;
typedef struct ngx_http_trifecta_caught_s   ngx_http_trifecta_caught_t;
typedef struct ngx_http_trifecta_cache_worker_s
    ngx_http_trifecta_cache_worker_t;


/* What trifecta_redis says of a shard. */

typedef struct {
    ngx_str_t                     url;
    ngx_str_t                     user;
    ngx_str_t                     master;           /* sentinel://: its name */
    ngx_addr_t                   *addrs;            /* then the sentinels' */
    ngx_uint_t                    naddrs;           /* 0: unresolved */
} ngx_http_trifecta_server_t;


typedef struct {
    ngx_array_t                   issuers;          /* tf_jwt_issuer_t */
    ngx_msec_t                    leeway;
    size_t                        token_memory;     /* tokens.h; 0: none */

    ngx_array_t                  *models;           /* of ngx_str_t */
    ngx_array_t                  *vectors;          /* those; or NULL */
    ngx_array_t                   model_groups;     /* models.h */
    ngx_int_t                     max_jobs;
    ngx_int_t                     max_jobs_per_tenant;
    ngx_int_t                     max_waiters;      /* of a worker */
    ngx_msec_t                    wait_fallback;
    ngx_int_t                     batch_lines;      /* of a file */
    off_t                         file_size;        /* of one, at most */
    ngx_int_t                     files;            /* of an owner */
    off_t                         files_bytes;      /* ... together */
    ngx_int_t                     replicas;         /* that must confirm */
    ngx_msec_t                    replicas_timeout;

    tf_id_keys_t                  id_keys;
    ngx_str_t                     id_key_file;

    ngx_array_t                  *servers;          /* one a shard, or NULL */
    ngx_str_t                     redis_password;
    ngx_str_t                     sentinel_password;

    ngx_str_t                     pg;               /* conninfo */
    ngx_str_t                     pg_hostaddr;      /* of a resolved host */
    ngx_str_t                     pg_password;
    unsigned                      pg_unresolved:1;

    unsigned                      used:1;   /* some location needs us */
    unsigned                      cache_set:1;

    ngx_shm_zone_t               *zone;     /* of the metrics */
    ngx_shm_zone_t               *cache;    /* of results, or NULL */
    ngx_http_trifecta_worker_t   *worker;   /* this process' connections */
#ifdef TF_FAULTS
    void                         *fault;    /* of fault.c: what is armed */
    off_t                         slice;    /* of a write, in bytes; 0: all */
#endif
} ngx_http_trifecta_main_conf_t;


typedef struct {
    ngx_uint_t                    mode;     /* NGX_HTTP_TRIFECTA_... */
    ngx_flag_t                    auth;     /* after merge: 1 for the API */
    ngx_array_t                  *limits;   /* of limit.c */
    ngx_uint_t                    limit_failure;
    ngx_array_t                  *fences;   /* of ngx_shm_zone_t * */
    ngx_array_t                  *require;  /* of require.c; NULL: nothing */
    ngx_flag_t                    prefer_durable;
    ngx_http_trifecta_webhooks_t *webhooks; /* of webhook.c; NULL: off */
} ngx_http_trifecta_loc_conf_t;


typedef struct {
    ngx_str_t                     request_id;   /* req_<32 hex>, always */
    ngx_str_t                     traceparent;  /* ours, once it is made */
    ngx_str_t                     trace_id;     /* part of it */

    /* filled by auth, empty before */
    ngx_str_t                     tenant;
    ngx_str_t                     owner;        /* <issuer name>:<sub> */
    ngx_str_t                     sub;
    ngx_str_t                     groups_json;  /* JSON array, or empty */
    ngx_str_t                     scopes_json;  /* JSON array, or empty */
    json_t                       *claims;       /* of the verified token */
    json_t                       *groups;       /* array of strings */
    json_t                       *scopes;       /* array of strings */

    ngx_str_t                     job_id;       /* once it is known */
    ngx_str_t                     conversation; /* as a submit named it */
    ngx_str_t                     error;        /* code of the answer */
    ngx_str_t                     outcome;      /* of a submit */
    uint64_t                      queue_time;   /* us spent on Redis */
    uint64_t                      store_time;   /* us spent on PostgreSQL */
    void                         *body;         /* of body.c, while it reads */
    void                         *poll;         /* of poll.c, while it waits */
    void                         *stream;       /* of stream.c, the same */
    void                         *content_of;   /* of files_ or batch_content.c */
    ngx_http_trifecta_caught_t   *caught;       /* of reply.h, or NULL */

    unsigned                      authenticated:1;  /* set by auth */
    unsigned                      content:1;    /* in the content phase */
    unsigned                      counted:1;    /* in the metrics */
    unsigned                      fenced_address:1;
    unsigned                      fenced_subject:1;
    unsigned                      limited:1;    /* and let through */
} ngx_http_trifecta_ctx_t;


extern ngx_module_t  ngx_http_trifecta_module;


/* ctx.c */

/*
 * The context of the main request of r; made when it is missing.  NULL only
 * when there is no memory.
 */
ngx_http_trifecta_ctx_t *ngx_http_trifecta_get_ctx(ngx_http_request_t *r);


/*
 * conf.c: reads a small file (a key, a password) at configuration time.  The
 * content is followed by a NUL.
 */
ngx_int_t ngx_http_trifecta_read_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *content, size_t max);


/* routes.c and status.c: the content handlers of the kinds of location */

ngx_int_t ngx_http_trifecta_api_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_trifecta_admin_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_trifecta_status_handler(ngx_http_request_t *r);


/* reply.c */

/*
 * Answers with a problem body.  param is the member or header that is wrong,
 * or NULL; fmt is as for ngx_sprintf() and becomes "detail", at most 511
 * bytes.  Adds WWW-Authenticate for the 401 codes and Retry-After for those
 * that pass.  Returns what the calling phase or content handler must return.
 */
ngx_int_t ngx_http_trifecta_error(ngx_http_request_t *r, tf_error_t code,
    const char *param, const char *fmt, ...);


/* trace.c: makes traceparent and trace_id of the context, if need be */

ngx_int_t ngx_http_trifecta_trace(ngx_http_request_t *r,
    ngx_http_trifecta_ctx_t *ctx);


/* auth.c: the handler of the PREACCESS phase */

ngx_int_t ngx_http_trifecta_auth_handler(ngx_http_request_t *r);


/* issuer.c: directive trifecta_jwt_issuer */

char *ngx_http_trifecta_jwt_issuer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* vars.c: called at preconfiguration */

ngx_int_t ngx_http_trifecta_add_variables(ngx_conf_t *cf);


#endif /* NGX_HTTP_TRIFECTA_H_INCLUDED */
