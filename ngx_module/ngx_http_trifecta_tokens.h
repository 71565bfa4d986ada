#ifndef NGX_HTTP_TRIFECTA_TOKENS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_TOKENS_H_INCLUDED


#include "ngx_http_trifecta.h"


/*
 * Tokens that this worker has verified, and those of them that it remembers.
 *
 * A client sends one token many times.  What the first verification found out
 * is an ngx_http_trifecta_token_t; each request that was made with it, and the
 * memory, hold it, and it goes with the last of them.
 *
 * The memory only ever says yes, and only to what tf_jwt_check() would say
 * yes to:
 *
 * - It is asked with the SHA-256 of the whole token, signature included, so
 *   another byte is another token.  The token itself is not kept.
 * - An entry belongs to the issuers, with their keys, audiences and tenants,
 *   by which its token was verified.  All of that comes from a configuration
 *   and a memory is one worker's: with the next configuration come new
 *   workers, which remember nothing.
 * - "exp", "nbf" and "iat" are held against the clock each time.  A token that
 *   is not in time is forgotten and goes the long way, which says why.
 * - What a location requires is no part of it: that is asked of each request
 *   afterwards (require.h).
 * - What was refused is not remembered.
 *
 * It is bounded by the bytes that its entries take, of which each counts as a
 * kilobyte at least; what was not used for longest makes room.  A token that
 * would take more than a sixteenth of it is not remembered.  An entry that
 * made room lives as long as requests hold it.
 */

#define NGX_HTTP_TRIFECTA_TOKEN_DIGEST   32
#define NGX_HTTP_TRIFECTA_TOKEN_WEIGHT   1024      /* bytes, at least */
#define NGX_HTTP_TRIFECTA_TOKENS_MIN     65536     /* bytes of a memory */
#define NGX_HTTP_TRIFECTA_TOKENS_MAX     (1024 * 1024 * 1024)
#define NGX_HTTP_TRIFECTA_TOKENS_SIZE    (8 * 1024 * 1024)

typedef struct ngx_http_trifecta_tokens_s  ngx_http_trifecta_tokens_t;
typedef struct ngx_http_trifecta_token_s   ngx_http_trifecta_token_t;

struct ngx_http_trifecta_token_s {
    ngx_queue_t                  queue;     /* of the memory, by last use */
    ngx_http_trifecta_token_t   *next;      /* with the same hash */
    ngx_uint_t                   refs;
    size_t                       weight;
    const void                  *issuers;   /* that it was verified by */
    tf_jwt_identity_t            id;
    ngx_str_t                    groups;    /* as JSON */
    ngx_str_t                    scopes;
    u_char                       digest[NGX_HTTP_TRIFECTA_TOKEN_DIGEST];
};


/* Directive trifecta_jwt_memory: off, or bytes of each worker. */

char *ngx_http_trifecta_conf_tokens(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Called at the start and the end of a worker. */

ngx_http_trifecta_tokens_t *ngx_http_trifecta_tokens_create(
    ngx_cycle_t *cycle, ngx_http_trifecta_main_conf_t *mcf);
void ngx_http_trifecta_tokens_destroy(ngx_http_trifecta_tokens_t *tokens);

/*
 * Verifies a token, or remembers that it was.  *token is set if the verdict
 * is OK: it is held for the caller, who gives it to _release() once.
 */

tf_jwt_verdict_t ngx_http_trifecta_token_check(ngx_http_request_t *r,
    ngx_str_t *text, ngx_http_trifecta_token_t **token,
    tf_jwt_reason_t *reason);

void ngx_http_trifecta_token_release(ngx_http_trifecta_token_t *token);


#endif /* NGX_HTTP_TRIFECTA_TOKENS_H_INCLUDED */
