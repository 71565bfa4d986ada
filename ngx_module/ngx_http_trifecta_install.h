#ifndef NGX_HTTP_TRIFECTA_INSTALL_H_INCLUDED
#define NGX_HTTP_TRIFECTA_INSTALL_H_INCLUDED


#include "ngx_http_trifecta.h"
#include "ngx_http_trifecta_resp.h"


/*
 * Whether Redis and PostgreSQL are of one installation.
 *
 * Each installation has an id: the row of trifecta.install in PostgreSQL, and
 * the field "install" of P:meta in every Redis that holds its queue.  A file
 * that was copied from another system may name one store of each.  Then
 * nothing may be accepted, for the sidecars of the other one would run it,
 * and its answer would never come here.
 *
 * The connection to PostgreSQL asks for the id when it is made, those to
 * Redis compare with it whenever they look whom they have reached.  When two
 * ids are known and differ, that Redis is "away".  An id that is not known is
 * no difference: PostgreSQL is not needed to accept a job, and a Redis that
 * no sidecar has taken has none.
 *
 * So that little is accepted unseen:
 * - a worker keeps the id while PostgreSQL is away;
 * - the shared zone keeps it for workers that start later, together with a
 *   hash of the trifecta_pg that it came from;
 * - a worker that knows it from neither does not connect to Redis before its
 *   first attempt to reach PostgreSQL has ended, or NGX_..._WAIT has passed;
 * - what PostgreSQL says later is compared at once.
 * And as either store may be given its right id while nginx runs, PostgreSQL
 * is asked anew after every difference that was found.
 */

#define NGX_HTTP_TRIFECTA_INSTALL_MAX   64
#define NGX_HTTP_TRIFECTA_INSTALL_WAIT  600     /* ms */

typedef struct {
    u_char      id[NGX_HTTP_TRIFECTA_INSTALL_MAX];
    size_t      len;        /* 0: not known */
    uint32_t    pg;         /* the hash of trifecta_pg */
} ngx_http_trifecta_install_t;


/* Whether a worker that starts should wait for PostgreSQL's first word. */
ngx_uint_t ngx_http_trifecta_install_awaited(
    ngx_http_trifecta_main_conf_t *mcf);

/* PostgreSQL has said it; NULL if it says nothing, or is not reached. */
void ngx_http_trifecta_install_learn(ngx_http_trifecta_main_conf_t *mcf,
    const char *id, size_t len);

/* What is wrong with the id that a Redis has, or NULL. */
const char *ngx_http_trifecta_install_check(
    ngx_http_trifecta_main_conf_t *mcf, const redisReply *id, u_char *buf,
    size_t size);


#endif /* NGX_HTTP_TRIFECTA_INSTALL_H_INCLUDED */
