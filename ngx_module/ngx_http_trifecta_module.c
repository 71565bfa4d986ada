#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_conf.h"
#include "ngx_http_trifecta_confirm.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_models.h"
#include "ngx_http_trifecta_require.h"
#include "ngx_http_trifecta_tokens.h"
#include "ngx_http_trifecta_webhook.h"
#include "ngx_http_trifecta_worker.h"


static ngx_conf_num_bounds_t  ngx_http_trifecta_bounds = {
    ngx_conf_check_num_bounds, 1, 10000000
};


static ngx_conf_enum_t  ngx_http_trifecta_limit_failures[] = {
    { ngx_string("closed"), NGX_HTTP_TRIFECTA_LIMIT_CLOSED },
    { ngx_string("open"), NGX_HTTP_TRIFECTA_LIMIT_OPEN },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_trifecta_commands[] = {

    /*
     * Syntax:   trifecta api | admin | status;
     * Default:  -
     * Context:  location
     *
     * Makes the location answer requests itself.  "api" is the HTTP interface
     * for clients: every request needs a verified token.  "admin" is
     * /livez, /readyz and /metrics, "status" one page that says how all of it
     * is: give them a listener of their own that clients cannot reach.  Locations inside do not inherit it.
     */

    { ngx_string("trifecta"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_auth on | off;
     * Default:  trifecta_auth off;
     * Context:  http, server, location
     *
     * Requires a verified token for any location, one with proxy_pass for
     * example, and sets the $trifecta_... variables.  A location with
     * "trifecta api" always requires one.  Beware of "return": nginx runs it
     * before any token is looked at.
     */

    { ngx_string("trifecta_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_trifecta_loc_conf_t, auth),
      NULL },

    /*
     * Syntax:   trifecta_redis server ...;
     * Default:  -
     * Context:  http
     *
     * The Redis servers that hold the queue, one a shard, at most 32: each is
     * host:port, unix:path, redis://[user@]host[:port], or
     * sentinel://[user@]host[:port],host[:port],.../master, whose sentinels
     * say which server is the master.  The sidecars have the same list in the
     * same order.  A name is resolved when the
     * configuration is read; one that cannot be resolved is a warning, and
     * the shard is unavailable until a reload.  Each worker keeps two
     * connections a shard, one for messages.  TLS (rediss://) is not
     * supported.
     */

    { ngx_string("trifecta_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_redis_password_file file;
     * Default:  -
     * Context:  http
     *
     * The first line of the file is the password for Redis.  It is read by
     * the master process when the configuration is read.
     */

    { ngx_string("trifecta_redis_password_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_password,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, redis_password),
      NULL },

    /*
     * Syntax:   trifecta_redis_sentinel_password_file file;
     * Default:  -
     * Context:  http
     *
     * The first line of the file is the password for the sentinels
     * themselves, if they ask for one.
     */

    { ngx_string("trifecta_redis_sentinel_password_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_password,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, sentinel_password),
      NULL },

    /*
     * Syntax:   trifecta_pg conninfo;
     * Default:  -
     * Context:  http
     *
     * The PostgreSQL that holds jobs and results, as a libpq connection
     * string: "hostaddr=127.0.0.1 port=5432 dbname=trifecta
     * user=trifecta_edge".  A host without hostaddr is resolved when the
     * configuration is read.  Each worker keeps one connection, and a second
     * one for files and batches once it has seen a request for them.  Use the
     * role trifecta_edge, which can change nothing but files and batches.
     */

    { ngx_string("trifecta_pg"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_pg,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_pg_password_file file;
     * Default:  -
     * Context:  http
     *
     * The first line of the file is the password for PostgreSQL.
     */

    { ngx_string("trifecta_pg_password_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_password,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, pg_password),
      NULL },

    /*
     * Syntax:   trifecta_id_key_file file;
     * Default:  -   (required by "trifecta api")
     * Context:  http
     *
     * One or two keys of 32 to 128 bytes, one a line.  The first makes the
     * ids of jobs, both verify them, so that a key can be replaced.  All
     * nginx servers and sidecars of an installation share the file.
     */

    { ngx_string("trifecta_id_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_id_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_models name ...;
     * Default:  trifecta_models extractive;
     * Context:  http
     *
     * The models that a client may name; the first is used when it names
     * none.  "trifecta models --nginx" prints the line for what the sidecar
     * offers.
     */

    { ngx_string("trifecta_models"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_models,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, models),
      NULL },

    /*
     * Syntax:   trifecta_embedding_models name ...;
     * Default:  -
     * Context:  http
     *
     * The models that make vectors; without it the sidecar alone knows them,
     * and GET /v1/models has none.
     */

    { ngx_string("trifecta_embedding_models"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_models,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, vectors),
      NULL },

    /*
     * Syntax:   trifecta_model_groups model group ...;
     * Default:  -
     * Context:  http
     *
     * Who may use a model of either list.
     */

    { ngx_string("trifecta_model_groups"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_trifecta_conf_model_groups,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_max_jobs number;
     * Default:  trifecta_max_jobs 10000;
     * Context:  http
     *
     * How many jobs may be open in the queue.  One more is answered 503
     * queue_full with Retry-After.
     */

    { ngx_string("trifecta_max_jobs"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, max_jobs),
      &ngx_http_trifecta_bounds },

    /*
     * Syntax:   trifecta_max_jobs_per_tenant number;
     * Default:  trifecta_max_jobs_per_tenant 1000;
     * Context:  http
     *
     * How many jobs of one tenant may be open.  One more is answered 429
     * tenant_queue_full with Retry-After.
     */

    { ngx_string("trifecta_max_jobs_per_tenant"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, max_jobs_per_tenant),
      &ngx_http_trifecta_bounds },

    /*
     * Syntax:   trifecta_replicas number [timeout=time];
     * Default:  trifecta_replicas 0;
     * Context:  http
     *
     * How many replicas of Redis must have a job before it is accepted; the
     * same for a cancel and a delete.  With fewer after the timeout (500ms
     * unless given) the answer is 504 submit_unconfirmed.  Each worker then
     * keeps one more connection to each Redis.
     */

    { ngx_string("trifecta_replicas"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_trifecta_conf_replicas,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_prefer_durable on | off;
     * Default:  trifecta_prefer_durable off;
     * Context:  http, server, location
     *
     * Treats every question as if it came with "Prefer: durable": its 202
     * waits, 2 s at most, until PostgreSQL has the job.
     */

    { ngx_string("trifecta_prefer_durable"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_trifecta_loc_conf_t, prefer_durable),
      NULL },

    /*
     * Syntax:   trifecta_webhooks on | off | host ...;
     * Default:  trifecta_webhooks off;
     * Context:  http, server, location
     *
     * Whether a question may name a URL that is told of its end, and which
     * hosts that may have: names, or "*.name" for all below it.
     */

    { ngx_string("trifecta_webhooks"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_webhooks,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_max_waiters number;
     * Default:  trifecta_max_waiters 10000;
     * Context:  http
     *
     * How many requests of a worker may wait for a job ("Prefer: wait" and
     * "durable").  One more is answered at once, without Preference-Applied.
     */

    { ngx_string("trifecta_max_waiters"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, max_waiters),
      &ngx_http_trifecta_bounds },

    /*
     * Syntax:   trifecta_batch_lines number;
     * Default:  trifecta_batch_lines 50000;
     * Context:  http
     *
     * How many requests the file of a batch may have.
     */

    { ngx_string("trifecta_batch_lines"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, batch_lines),
      &ngx_http_trifecta_bounds },

    /*
     * Syntax:   trifecta_wait_fallback time;
     * Default:  trifecta_wait_fallback 10s;
     * Context:  http
     *
     * A request that waits for a job is woken by Redis.  This often it looks
     * by itself all the same, in case that a message got lost.
     */

    { ngx_string("trifecta_wait_fallback"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, wait_fallback),
      NULL },

    /*
     * Syntax:   trifecta_file_size size;
     * Default:  trifecta_file_size 100m;
     * Context:  http
     *
     * How large a file of POST /v1/files may be.  It comes into a temporary
     * file (client_body_temp_path) before it goes to PostgreSQL.
     */

    { ngx_string("trifecta_file_size"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, file_size),
      NULL },

    /*
     * Syntax:   trifecta_files number [size];
     * Default:  trifecta_files 100 1g;
     * Context:  http
     *
     * How many files an owner may have, and how many bytes together.  One
     * more is answered 403 too_many_files.  The answers of batches, which are
     * files too, do not count.
     */

    { ngx_string("trifecta_files"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_trifecta_conf_files,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_result_cache off | zone=name:size [ttl=time]
     *               [max=size];
     * Default:  trifecta_result_cache off;
     * Context:  http
     *
     * Keeps results of finished jobs in memory that all workers share, at
     * most ttl (60s, and no more than that) each, so that asking for one
     * again costs no store a command.  A body larger than max (256k) is not
     * kept.  A worker that does not hear from Redis which jobs are deleted
     * does not use the cache.
     */

    { ngx_string("trifecta_result_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_cache,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_limit name=policy key=user|tenant|route rate=rate
     *               [burst=number];
     *           trifecta_limit off;
     * Default:  trifecta_limit off;
     * Context:  http, server, location
     *
     * How many questions may be posted to the API, counted by Redis and so
     * over all workers and servers; in another location with "trifecta_auth
     * on", how many requests it may get.  The rate is 10r/s, 60r/m, 1000r/h
     * or 5000r/d; burst is how many may come at once.  All policies of a
     * location are checked before any is charged.  Inherited by locations
     * that have none of their own.
     */

    { ngx_string("trifecta_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_limit_failure closed | open;
     * Default:  trifecta_limit_failure closed;
     * Context:  http, server, location
     *
     * What becomes of a request whose limits cannot be checked because Redis
     * is away, in a location that makes no jobs: it is answered 503, or goes
     * on uncounted.  A question needs Redis in any case.
     */

    { ngx_string("trifecta_limit_failure"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_trifecta_loc_conf_t, limit_failure),
      &ngx_http_trifecta_limit_failures },

    /*
     * Syntax:   trifecta_fence zone=name:size key=address|subject rate=rate
     *               [burst=number];
     *           trifecta_fence zone=name;
     * Default:  -
     * Context:  http, server, location
     *
     * How many requests an address, or the subject of a token, may make on
     * this server, counted in shared memory before anything else is done:
     * an address before the token is looked at, a subject after that.  For
     * any location.  The second form uses a zone again that is defined above.
     */

    { ngx_string("trifecta_fence"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_conf_fence,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_jwt_issuer name iss=string alg=name,...
     *               key=file [kid=string] ... [aud=string]
     *               tenant=name | tenant_claim=name tenants=name,...
     *               [default_tenant=name];
     *           trifecta_jwt_issuer name alg=name,... key=file
     *               [kid=string] ...;
     * Default:  -
     * Context:  http
     *
     * Accepts the tokens of one issuer, which is bound to one tenant, or to a
     * list that a claim must be in.  What a token says only chooses among the
     * keys and algorithms of its "iss".  The owner of a job is "<name>:<sub>".
     * The second form adds keys to an issuer that is configured above.
     * Without aud= a token must not have an audience.
     */

    { ngx_string("trifecta_jwt_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_trifecta_jwt_issuer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /*
     * Syntax:   trifecta_jwt_require claim=value,... | claim~regex ... | off;
     * Default:  trifecta_jwt_require off;
     * Context:  http, server, location
     *
     * What a verified token must say besides, or 403.  All must hold, one of
     * the values between commas is enough.  Inherited by locations that have
     * none of their own.
     */

    { ngx_string("trifecta_jwt_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_CONF_1MORE,
      ngx_http_trifecta_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_trifecta_loc_conf_t, require),
      NULL },

    /*
     * Syntax:   trifecta_jwt_leeway time;
     * Default:  trifecta_jwt_leeway 30s;
     * Context:  http
     *
     * How far the clocks of an issuer and of this server may differ when
     * "exp", "nbf" and "iat" are checked.
     */

    { ngx_string("trifecta_jwt_leeway"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_trifecta_main_conf_t, leeway),
      NULL },

    /*
     * Syntax:   trifecta_jwt_memory size | off;
     * Default:  trifecta_jwt_memory 8m;
     * Context:  http
     *
     * How much of the tokens that it has verified each worker remembers.
     */

    { ngx_string("trifecta_jwt_memory"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_trifecta_conf_tokens,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_trifecta_module_ctx = {
    ngx_http_trifecta_add_variables,       /* preconfiguration */
    ngx_http_trifecta_postconfiguration,   /* postconfiguration */

    ngx_http_trifecta_create_main_conf,    /* create main configuration */
    ngx_http_trifecta_init_main_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_trifecta_create_loc_conf,     /* create location configuration */
    ngx_http_trifecta_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_trifecta_module = {
    NGX_MODULE_V1,
    &ngx_http_trifecta_module_ctx,         /* module context */
    ngx_http_trifecta_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_trifecta_init_module,         /* init module */
    ngx_http_trifecta_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_trifecta_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};
