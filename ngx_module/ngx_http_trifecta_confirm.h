#ifndef NGX_HTTP_TRIFECTA_CONFIRM_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CONFIRM_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_redis.h"


/*
 * Commands that count only when replicas of Redis have what they did
 * (trifecta_replicas).
 *
 * WAIT blocks the connection on which it is sent, so these commands have one
 * of their own, one a worker and shard.  There it confirms everything that
 * was sent before, so one WAIT is enough for many:
 *
 *   gathered ──> FCALL, FCALL, ..., SPUBLISH, WAIT ──> answered
 *      ^                 (one write)                      │
 *      └──────── what came meanwhile is the next ─────────┘
 *
 * A command that comes alone leaves at once and costs one round trip.  When
 * the replicas are away, everybody waits for two timeouts at most: that of
 * the WAIT that is out and that of the next one, however many come.
 *
 * The message between them is for nobody.  WAIT asks for what this connection
 * has written itself, but a repetition of a submit finds what another one
 * wrote, and writes nothing.  A message goes the way of a write, so that all
 * that was written before it, by anybody, is what WAIT waits for.
 *
 * From Redis 7.2 on, WAITAOF asks for more: that the server and the replicas
 * have it on their disks.
 *
 * What becomes of commands when the connection ends is as in redis.h: one
 * that was sent is sent once more, with the next batch.  Each has 1.9 s from
 * its beginning to its end, whatever happens.
 */

#define NGX_HTTP_TRIFECTA_CONFIRM_DEADLINE     1900     /* ms */
#define NGX_HTTP_TRIFECTA_CONFIRM_MAX          16       /* replicas */
#define NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT      500      /* ms */
#define NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT_MIN  10
#define NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT_MAX  800

typedef struct ngx_http_trifecta_confirm_s      ngx_http_trifecta_confirm_t;
typedef struct ngx_http_trifecta_confirm_cmd_s  ngx_http_trifecta_confirm_cmd_t;


/* Directive trifecta_replicas. */
char *ngx_http_trifecta_conf_replicas(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* At the start and the end of a worker; NULL is none. */
ngx_http_trifecta_confirm_t *ngx_http_trifecta_confirm_create(
    ngx_cycle_t *cycle, ngx_http_trifecta_main_conf_t *mcf,
    ngx_http_trifecta_shard_t *shard);
void ngx_http_trifecta_confirm_destroy(ngx_http_trifecta_confirm_t *confirm);

/*
 * As ngx_http_trifecta_redis_command() with RESEND.  Its time is added to
 * *spent, unless it is an orphan by then.
 */
ngx_http_trifecta_confirm_cmd_t *ngx_http_trifecta_confirm_command(
    ngx_http_trifecta_confirm_t *confirm, int argc, const char **argv,
    const size_t *argvlen, ngx_http_trifecta_redis_handler_pt handler,
    void *data, uint64_t *spent);

void ngx_http_trifecta_confirm_orphan(ngx_http_trifecta_confirm_cmd_t *cmd);


#endif /* NGX_HTTP_TRIFECTA_CONFIRM_H_INCLUDED */
