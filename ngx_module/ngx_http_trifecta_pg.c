#include "ngx_http_trifecta_pg_query.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


static void ngx_http_trifecta_pg_poll(ngx_http_trifecta_pg_t *pg);
static void ngx_http_trifecta_pg_fail(ngx_http_trifecta_pg_t *pg,
    const char *reason);
static void ngx_http_trifecta_pg_read_handler(ngx_event_t *rev);
static void ngx_http_trifecta_pg_write_handler(ngx_event_t *wev);


/*
 * A descriptor that libpq has closed has left epoll by itself; asking nginx
 * to remove it would be an error, or hit another one of the same number.
 */

static void
ngx_http_trifecta_pg_detach(ngx_http_trifecta_pg_t *pg)
{
    ngx_connection_t  *c;

    c = pg->connection;

    if (c == NULL) {
        return;
    }

    pg->connection = NULL;

    if (PQsocket(pg->conn) == c->fd) {

        if (c->write->active) {
            (void) ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
        }

        if (c->read->active) {
            (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
        }
    }

    c->read->active = 0;
    c->write->active = 0;

    ngx_close_connection(c);
}


static ngx_int_t
ngx_http_trifecta_pg_attach(ngx_http_trifecta_pg_t *pg)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(PQsocket(pg->conn), pg->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = pg;
    c->shared = 1;
    c->log_error = NGX_ERROR_ERR;

    c->read->log = pg->log;
    c->read->handler = ngx_http_trifecta_pg_read_handler;
    c->write->log = pg->log;
    c->write->handler = ngx_http_trifecta_pg_write_handler;

    pg->connection = c;

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_pg_watch(ngx_http_trifecta_pg_t *pg, ngx_event_t *ev,
    ngx_int_t event, ngx_uint_t on)
{
    if (on && !ev->active) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    if (!on && ev->active) {
        return ngx_del_event(ev, event, 0);
    }

    return NGX_OK;
}


static void
ngx_http_trifecta_pg_flush(ngx_http_trifecta_pg_t *pg)
{
    int  rc;

    rc = PQflush(pg->conn);

    if (rc == -1
        || ngx_http_trifecta_pg_watch(pg, pg->connection->write,
                                      NGX_WRITE_EVENT, rc == 1)
           != NGX_OK)
    {
        ngx_http_trifecta_pg_fail(pg, rc == -1 ? PQerrorMessage(pg->conn)
                                  : "watching the socket failed");
    }
}


static void
ngx_http_trifecta_pg_read_handler(ngx_event_t *rev)
{
    ngx_connection_t        *c;
    ngx_http_trifecta_pg_t  *pg;

    c = rev->data;
    pg = c->data;

    if (pg->state == ngx_http_trifecta_pg_connecting) {
        ngx_http_trifecta_pg_poll(pg);
        return;
    }

    if (PQconsumeInput(pg->conn) == 0
        || ngx_http_trifecta_pg_results(pg) != NGX_OK)
    {
        ngx_http_trifecta_pg_fail(pg, PQerrorMessage(pg->conn));
        return;
    }

    if (pg->refused) {
        ngx_http_trifecta_pg_fail(pg, NULL);
        return;
    }

    if (pg->state == ngx_http_trifecta_pg_checking) {

        /* the answer to one question may have been the next question */

        ngx_http_trifecta_pg_rearm(pg);
        ngx_http_trifecta_pg_flush(pg);
        return;
    }

    if (pg->state == ngx_http_trifecta_pg_ready
        && !ngx_queue_empty(&pg->waiting))
    {
        ngx_post_event(pg->connection->write, &ngx_posted_events);
    }

    ngx_http_trifecta_pg_rearm(pg);
}


/* Sends what waits: a query does not send itself. */

static void
ngx_http_trifecta_pg_write_handler(ngx_event_t *wev)
{
    ngx_connection_t        *c;
    ngx_http_trifecta_pg_t  *pg;

    c = wev->data;
    pg = c->data;

    if (pg->state == ngx_http_trifecta_pg_connecting) {
        ngx_http_trifecta_pg_poll(pg);
        return;
    }

    if (ngx_http_trifecta_pg_send_waiting(pg) != NGX_OK) {
        ngx_http_trifecta_pg_fail(pg, PQerrorMessage(pg->conn));
        return;
    }

    ngx_http_trifecta_pg_flush(pg);
}


/* One step of the login; see the header for why it lets go of the socket. */

static void
ngx_http_trifecta_pg_poll(ngx_http_trifecta_pg_t *pg)
{
    PostgresPollingStatusType  status;

    ngx_http_trifecta_pg_detach(pg);

    status = PQconnectPoll(pg->conn);

    if (status == PGRES_POLLING_FAILED) {
        ngx_http_trifecta_pg_fail(pg, PQerrorMessage(pg->conn));
        return;
    }

    if (ngx_http_trifecta_pg_attach(pg) != NGX_OK
        || ngx_http_trifecta_pg_watch(pg, pg->connection->read,
                                      NGX_READ_EVENT,
                                      status != PGRES_POLLING_WRITING)
           != NGX_OK
        || ngx_http_trifecta_pg_watch(pg, pg->connection->write,
                                      NGX_WRITE_EVENT,
                                      status == PGRES_POLLING_WRITING)
           != NGX_OK)
    {
        ngx_http_trifecta_pg_fail(pg, "watching the socket failed");
        return;
    }

    if (status != PGRES_POLLING_OK) {
        return;
    }

    ngx_del_timer(&pg->login);

    pg->state = ngx_http_trifecta_pg_checking;

    if (PQsetnonblocking(pg->conn, 1) == -1
        || PQenterPipelineMode(pg->conn) == 0
        || ngx_http_trifecta_pg_introduce(pg) != NGX_OK)
    {
        ngx_http_trifecta_pg_fail(pg, PQerrorMessage(pg->conn));
        return;
    }

    ngx_http_trifecta_pg_rearm(pg);
    ngx_http_trifecta_pg_flush(pg);
}


/* Notices (a warning of the server, say) go to the log, not to stderr. */

static void
ngx_http_trifecta_pg_notice(void *arg, const char *message)
{
    ngx_http_trifecta_pg_t *pg = arg;

    ngx_log_error(NGX_LOG_INFO, pg->log, 0,
                  "trifecta: PostgreSQL says: %s", message);
}


void
ngx_http_trifecta_pg_connect(ngx_http_trifecta_pg_t *pg)
{
    ngx_uint_t   n;
    const char  *names[8], *values[8];

    n = 0;

    /* what comes later wins over the connection string */

    names[n] = "dbname";
    values[n++] = (char *) pg->mcf->pg.data;

    if (pg->mcf->pg_hostaddr.len) {
        names[n] = "hostaddr";
        values[n++] = (char *) pg->mcf->pg_hostaddr.data;
    }

    if (pg->mcf->pg_password.len) {
        names[n] = "password";
        values[n++] = (char *) pg->mcf->pg_password.data;
    }

    names[n] = "gssencmode";
    values[n++] = "disable";
    names[n] = "client_encoding";
    values[n++] = "UTF8";
    names[n] = "fallback_application_name";
    values[n++] = "trifecta-edge";
    names[n] = NULL;
    values[n] = NULL;

    pg->state = ngx_http_trifecta_pg_connecting;
    pg->refused = 0;
    pg->conn = PQconnectStartParams(names, values, 1);

    if (pg->conn == NULL) {
        ngx_http_trifecta_pg_fail(pg, "no memory");
        return;
    }

    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        ngx_http_trifecta_pg_fail(pg, PQerrorMessage(pg->conn));
        return;
    }

    PQsetNoticeProcessor(pg->conn, ngx_http_trifecta_pg_notice, pg);

    ngx_add_timer(&pg->login, NGX_HTTP_TRIFECTA_PG_CONNECT);

    /* libpq: behave as if the last poll had said "writing" */

    if (ngx_http_trifecta_pg_attach(pg) != NGX_OK
        || ngx_http_trifecta_pg_watch(pg, pg->connection->write,
                                      NGX_WRITE_EVENT, 1)
           != NGX_OK)
    {
        ngx_http_trifecta_pg_fail(pg, "watching the socket failed");
    }
}


static void
ngx_http_trifecta_pg_close(ngx_http_trifecta_pg_t *pg)
{
    ngx_http_trifecta_pg_detach(pg);

    PQfinish(pg->conn);
    pg->conn = NULL;

    ngx_http_trifecta_pg_named_clear(pg);

    pg->state = ngx_http_trifecta_pg_down;

    if (pg->login.timer_set) {
        ngx_del_timer(&pg->login);
    }

    if (!pg->lazy) {
        ngx_http_trifecta_slot(pg->mcf)->pg_ready = 0;
    }
}


/*
 * The end of a connection, or of the attempt to make one.  Without a reason
 * it is the one that is noted already.
 */

static void
ngx_http_trifecta_pg_fail(ngx_http_trifecta_pg_t *pg, const char *reason)
{
    u_char       *p;
    ngx_uint_t    level;
    ngx_queue_t   doomed;

    if (reason) {
        ngx_cpystrn(pg->reason, (u_char *) (reason[0] ? reason
                                            : "the connection broke"),
                    sizeof(pg->reason));

        for (p = pg->reason; *p; p++) {
            if (*p == LF || *p == '\t') {
                *p = ' ';
            }
        }

        while (p > pg->reason && p[-1] == ' ') {
            *--p = '\0';
        }
    }

    /* one that breaks at once again and again is no good connection */

    if (pg->state == ngx_http_trifecta_pg_ready
        && ngx_current_msec - pg->ready_at > 1000)
    {
        pg->fails = 0;

    } else {
        pg->fails++;
    }

    level = (pg->fails <= 1) ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, pg->log, 0,
                  "trifecta: PostgreSQL is not available: %s", pg->reason);

    ngx_http_trifecta_count(pg->mcf, NGX_HTTP_TRIFECTA_M_PG_ERRORS);

    ngx_http_trifecta_pg_close(pg);

    pg->failed_at = ngx_current_msec;
    pg->tried = 1;

    if (!pg->lazy) {
        ngx_http_trifecta_shards_hurry(pg->mcf->worker);
    }

    ngx_queue_init(&doomed);

    ngx_http_trifecta_pg_move(&doomed, &pg->sent);

    if (pg->fails) {
        ngx_http_trifecta_pg_move(&doomed, &pg->waiting);
    }

    ngx_add_timer(&pg->reconnect,
                  pg->fails ? ngx_http_trifecta_backoff(pg->fails) : 1);

    ngx_http_trifecta_pg_doom(pg, &doomed);
    ngx_http_trifecta_pg_rearm(pg);
}


static void
ngx_http_trifecta_pg_deadline_handler(ngx_event_t *ev)
{
    ngx_queue_t                    doomed;
    ngx_http_trifecta_pg_t        *pg;
    ngx_http_trifecta_pg_query_t  *query;

    pg = ev->data;

    ngx_queue_init(&doomed);

    ngx_http_trifecta_pg_expire(pg, &doomed);

    if (!ngx_queue_empty(&pg->sent)) {
        query = ngx_queue_data(ngx_queue_head(&pg->sent),
                               ngx_http_trifecta_pg_query_t, queue);

        if ((ngx_msec_int_t) (query->deadline - ngx_current_msec) <= 0) {
            ngx_http_trifecta_pg_fail(pg, "PostgreSQL does not answer");
        }
    }

    ngx_http_trifecta_pg_doom(pg, &doomed);
    ngx_http_trifecta_pg_rearm(pg);
}


static void
ngx_http_trifecta_pg_login_handler(ngx_event_t *ev)
{
    ngx_http_trifecta_pg_fail(ev->data, "connecting to PostgreSQL timed out");
}


static void
ngx_http_trifecta_pg_reconnect_handler(ngx_event_t *ev)
{
    ngx_http_trifecta_pg_connect(ev->data);
}


static void
ngx_http_trifecta_pg_timer(ngx_http_trifecta_pg_t *pg, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = pg;
    ev->log = pg->log;
    ev->cancelable = 1;
}


ngx_http_trifecta_pg_t *
ngx_http_trifecta_pg_create_lazy(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_msec_t timeout)
{
    ngx_http_trifecta_pg_t  *pg;

    pg = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_pg_t));
    if (pg == NULL) {
        return NULL;
    }

    pg->mcf = mcf;
    pg->log = cycle->log;
    pg->fd = (ngx_socket_t) -1;
    pg->timeout = timeout;
    pg->lazy = 1;

    ngx_queue_init(&pg->waiting);
    ngx_queue_init(&pg->sent);

    ngx_http_trifecta_pg_timer(pg, &pg->deadline,
                               ngx_http_trifecta_pg_deadline_handler);
    ngx_http_trifecta_pg_timer(pg, &pg->reconnect,
                               ngx_http_trifecta_pg_reconnect_handler);
    ngx_http_trifecta_pg_timer(pg, &pg->login,
                               ngx_http_trifecta_pg_login_handler);

    if (mcf->pg.len == 0 || mcf->pg_unresolved) {
        pg->fails = 1;
        ngx_cpystrn(pg->reason, mcf->pg.len
                    ? (u_char *) "the name could not be resolved"
                    : (u_char *) "trifecta_pg is not configured",
                    sizeof(pg->reason));
        return pg;
    }

    ngx_cpystrn(pg->reason, (u_char *) "connecting", sizeof(pg->reason));

    return pg;
}


ngx_http_trifecta_pg_t *
ngx_http_trifecta_pg_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_http_trifecta_pg_t  *pg;

    pg = ngx_http_trifecta_pg_create_lazy(cycle, mcf,
                                          NGX_HTTP_TRIFECTA_PG_TIMEOUT);
    if (pg == NULL) {
        return NULL;
    }

    pg->lazy = 0;

    if (pg->fails == 0) {
        ngx_http_trifecta_pg_connect(pg);
    }

    return pg;
}


void
ngx_http_trifecta_pg_destroy(ngx_http_trifecta_pg_t *pg)
{
    ngx_queue_t                   *q, all;
    ngx_http_trifecta_pg_query_t  *query;

    ngx_http_trifecta_pg_close(pg);

    if (pg->reconnect.timer_set) {
        ngx_del_timer(&pg->reconnect);
    }

    if (pg->deadline.timer_set) {
        ngx_del_timer(&pg->deadline);
    }

    ngx_queue_init(&all);

    ngx_http_trifecta_pg_move(&all, &pg->sent);
    ngx_http_trifecta_pg_move(&all, &pg->waiting);

    /* the process ends: their requests are gone or about to go */

    for (q = ngx_queue_head(&all);
         q != ngx_queue_sentinel(&all);
         q = ngx_queue_next(q))
    {
        query = ngx_queue_data(q, ngx_http_trifecta_pg_query_t, queue);
        query->handler = NULL;
    }

    ngx_http_trifecta_pg_doom(pg, &all);
}


ngx_uint_t
ngx_http_trifecta_pg_tries_first(ngx_http_trifecta_pg_t *pg)
{
    return !pg->tried && pg->state != ngx_http_trifecta_pg_down;
}


const char *
ngx_http_trifecta_pg_reason(ngx_http_trifecta_pg_t *pg)
{
    return pg->state == ngx_http_trifecta_pg_ready ? NULL
                                                   : (char *) pg->reason;
}
