#include "ngx_http_trifecta_sentinel.h"
#include "ngx_http_trifecta_resp.h"


/* A debug build of nginx takes the data of a timer for a connection. */

struct ngx_http_trifecta_sentinel_s {
    void                            *data;
    ngx_connection_t                *connection;
    ngx_log_t                       *log;
    ngx_socket_t                     fd;        /* -1 */

    ngx_http_trifecta_server_t      *server;
    ngx_http_trifecta_sentinel_pt    handler;

    ngx_uint_t                       at;        /* who is asked */
    ngx_uint_t                       left;      /* who may be asked, too */
    ngx_event_t                      timer;     /* of what comes next */
    unsigned                         connecting:1;
    unsigned                         found:1;

    ngx_http_trifecta_resp_t         resp;
    ngx_uint_t                       nreplies;
    ngx_uint_t                       owed;      /* of them */
    ngx_str_t                        question;  /* the same each time */
    size_t                           sent;

    ngx_addr_t                       master;
    ngx_sockaddr_t                   sockaddr;
    u_char                           name[NGX_SOCKADDR_STRLEN];
    u_char                           reason[256];
};


static void ngx_http_trifecta_sentinel_connect(
    ngx_http_trifecta_sentinel_t *s);


static void
ngx_http_trifecta_sentinel_close(ngx_http_trifecta_sentinel_t *s)
{
    if (s->connection) {
        ngx_close_connection(s->connection);
        s->connection = NULL;
    }

    ngx_http_trifecta_resp_close(&s->resp);

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }
}


/* This one is of no use; another one is tried in a moment, if there is one. */

static void
ngx_http_trifecta_sentinel_fail(ngx_http_trifecta_sentinel_t *s,
    const char *reason)
{
    u_char  *last;

    last = ngx_snprintf(s->reason, sizeof(s->reason) - 1, "sentinel %V %s",
                        &s->server->addrs[s->at].name, reason);
    *last = '\0';

    ngx_log_error(NGX_LOG_INFO, s->log, 0, "trifecta: %s", s->reason);

    ngx_http_trifecta_sentinel_close(s);

    s->at = (s->at + 1) % s->server->naddrs;

    ngx_add_timer(&s->timer, 1);
}


static void
ngx_http_trifecta_sentinel_timer(ngx_event_t *ev)
{
    ngx_http_trifecta_sentinel_t  *s;

    s = ev->data;

    if (s->connection) {
        ngx_http_trifecta_sentinel_fail(s, s->connecting
                                           ? "cannot be reached in time"
                                           : "does not answer");

    } else if (s->found) {
        s->handler(s->data, &s->master, NULL);

    } else if (s->left) {
        s->left--;
        ngx_http_trifecta_sentinel_connect(s);

    } else {
        s->handler(s->data, NULL, (char *) s->reason);
    }
}


/* Address and port as text; a name would have to be resolved first. */

static ngx_int_t
ngx_http_trifecta_sentinel_address(ngx_http_trifecta_sentinel_t *s,
    redisReply *reply)
{
    ngx_int_t             port;
    redisReply          **e;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return NGX_ERROR;
    }

    e = reply->element;
    port = ngx_atoi((u_char *) e[1]->str, e[1]->len);

    if (port < 1 || port > 65535) {
        return NGX_ERROR;
    }

    ngx_memzero(&s->sockaddr, sizeof(ngx_sockaddr_t));

    s->master.sockaddr = &s->sockaddr.sockaddr;

    sin = &s->sockaddr.sockaddr_in;
    sin->sin_addr.s_addr = ngx_inet_addr((u_char *) e[0]->str, e[0]->len);

    if (sin->sin_addr.s_addr != INADDR_NONE) {
        sin->sin_family = AF_INET;
        sin->sin_port = htons((in_port_t) port);
        s->master.socklen = sizeof(struct sockaddr_in);

    } else {

#if (NGX_HAVE_INET6)

        sin6 = &s->sockaddr.sockaddr_in6;
        ngx_memzero(sin6, sizeof(struct sockaddr_in6));

        if (ngx_inet6_addr((u_char *) e[0]->str, e[0]->len,
                           sin6->sin6_addr.s6_addr)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons((in_port_t) port);
        s->master.socklen = sizeof(struct sockaddr_in6);

#else
        return NGX_DECLINED;
#endif
    }

    s->master.name.data = s->name;
    s->master.name.len = ngx_sock_ntop(s->master.sockaddr, s->master.socklen,
                                       s->name, NGX_SOCKADDR_STRLEN, 1);

    return NGX_OK;
}


/* The reply to AUTH, or the address. */

static void
ngx_http_trifecta_sentinel_reply(ngx_http_trifecta_sentinel_t *s,
    redisReply *reply)
{
    u_char     buf[192], *last;
    ngx_int_t  rc;

    if (reply->type == REDIS_REPLY_ERROR) {
        last = ngx_snprintf(buf, sizeof(buf) - 1, "says: %*s",
                            (size_t) reply->len, reply->str);
        *last = '\0';
        ngx_http_trifecta_sentinel_fail(s, (char *) buf);
        return;
    }

    if (--s->owed) {
        return;
    }

    if (reply->type == REDIS_REPLY_NIL) {
        last = ngx_snprintf(buf, sizeof(buf) - 1, "does not know the master "
                            "\"%V\"", &s->server->master);
        *last = '\0';
        ngx_http_trifecta_sentinel_fail(s, (char *) buf);
        return;
    }

    rc = ngx_http_trifecta_sentinel_address(s, reply);

    if (rc != NGX_OK) {
        ngx_http_trifecta_sentinel_fail(s, rc == NGX_DECLINED
                                        ? "names the master by a host name: "
                                          "set \"announce-hostnames no\""
                                        : "gives an unexpected answer");
        return;
    }

    ngx_http_trifecta_sentinel_close(s);

    s->found = 1;
    ngx_add_timer(&s->timer, 1);
}


static void
ngx_http_trifecta_sentinel_read_handler(ngx_event_t *rev)
{
    u_char                         buf[1024];
    ssize_t                        n;
    ngx_int_t                      rc;
    const char                    *err;
    redisReply                    *reply;
    ngx_connection_t              *c;
    ngx_http_trifecta_sentinel_t  *s;

    c = rev->data;
    s = c->data;

    if (s->connecting) {
        return;     /* the write event decides */
    }

    do {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_http_trifecta_sentinel_fail(s, "cannot be watched");
            }

            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_trifecta_sentinel_fail(s, "closed the connection");
            return;
        }

        rc = ngx_http_trifecta_resp_feed(&s->resp, buf, n, &err);

        while (rc == NGX_OK) {
            rc = ngx_http_trifecta_resp_next(&s->resp, &reply, &err);

            if (rc == NGX_OK) {
                ngx_http_trifecta_sentinel_reply(s, reply);
                freeReplyObject(reply);

                if (s->connection == NULL) {
                    return;     /* it has said all, or is of no use */
                }
            }
        }

    } while (rc == NGX_AGAIN);

    ngx_http_trifecta_sentinel_fail(s, "gives no answer that can be read");
}


static void
ngx_http_trifecta_sentinel_write_handler(ngx_event_t *wev)
{
    int                            err;
    ssize_t                        n;
    socklen_t                      len;
    ngx_connection_t              *c;
    ngx_http_trifecta_sentinel_t  *s;

    c = wev->data;
    s = c->data;

    if (s->connecting) {
        err = 0;
        len = sizeof(int);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len)
            == -1)
        {
            err = ngx_socket_errno;
        }

        if (err) {
            ngx_http_trifecta_sentinel_fail(s, strerror(err));
            return;
        }

        s->connecting = 0;
        ngx_add_timer(&s->timer, NGX_HTTP_TRIFECTA_SENTINEL_TIMEOUT);
    }

    while (s->sent < s->question.len) {
        n = c->send(c, s->question.data + s->sent, s->question.len - s->sent);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_http_trifecta_sentinel_fail(s, "closed the connection");
            return;
        }

        s->sent += n;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_trifecta_sentinel_fail(s, "cannot be watched");
    }
}


static void
ngx_http_trifecta_sentinel_connect(ngx_http_trifecta_sentinel_t *s)
{
    ngx_int_t               rc;
    ngx_addr_t             *addr;
    ngx_connection_t       *c;
    ngx_peer_connection_t   peer;

    addr = &s->server->addrs[s->at];

    ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

    peer.sockaddr = addr->sockaddr;
    peer.socklen = addr->socklen;
    peer.name = &addr->name;
    peer.get = ngx_event_get_peer;
    peer.log = s->log;
    peer.log_error = NGX_ERROR_INFO;

    s->sent = 0;
    s->owed = s->nreplies;

    if (ngx_http_trifecta_resp_open(&s->resp) != NGX_OK) {
        ngx_http_trifecta_sentinel_fail(s, "cannot be asked: no memory");
        return;
    }

    rc = ngx_event_connect_peer(&peer);

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        ngx_http_trifecta_sentinel_fail(s, "cannot be reached");
        return;
    }

    c = peer.connection;

    s->connection = c;
    s->connecting = 1;

    c->data = s;
    c->read->handler = ngx_http_trifecta_sentinel_read_handler;
    c->write->handler = ngx_http_trifecta_sentinel_write_handler;

    ngx_add_timer(&s->timer, NGX_HTTP_TRIFECTA_SENTINEL_CONNECT);

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


void
ngx_http_trifecta_sentinel_ask(ngx_http_trifecta_sentinel_t *s)
{
    s->found = 0;
    s->left = s->server->naddrs;

    ngx_add_timer(&s->timer, 1);
}


void
ngx_http_trifecta_sentinel_stop(ngx_http_trifecta_sentinel_t *s)
{
    ngx_http_trifecta_sentinel_close(s);
}


void
ngx_http_trifecta_sentinel_skip(ngx_http_trifecta_sentinel_t *s)
{
    s->at = (s->at + 1) % s->server->naddrs;
}


/* AUTH, if there is a password, and the question, as they are sent. */

static ngx_int_t
ngx_http_trifecta_sentinel_question(ngx_http_trifecta_sentinel_t *s,
    ngx_pool_t *pool, ngx_str_t *password)
{
    int         n, len[2];
    char       *cmd[2];
    u_char     *p;
    ngx_int_t   rc;
    const char *argv[3];

    n = 0;
    rc = NGX_ERROR;

    if (password->len) {
        argv[0] = "AUTH";
        argv[1] = (char *) password->data;

        len[n] = redisFormatCommandArgv(&cmd[n], 2, argv, NULL);

        if (len[n] < 0) {
            goto done;
        }

        n++;
    }

    argv[0] = "SENTINEL";
    argv[1] = "get-master-addr-by-name";
    argv[2] = (char *) s->server->master.data;

    len[n] = redisFormatCommandArgv(&cmd[n], 3, argv, NULL);

    if (len[n] < 0) {
        goto done;
    }

    n++;

    s->nreplies = n;
    s->question.len = len[0] + (n == 2 ? len[1] : 0);
    s->question.data = ngx_pnalloc(pool, s->question.len);

    if (s->question.data != NULL) {
        p = ngx_cpymem(s->question.data, cmd[0], len[0]);

        if (n == 2) {
            ngx_memcpy(p, cmd[1], len[1]);
        }

        rc = NGX_OK;
    }

done:

    while (n) {
        redisFreeCommand(cmd[--n]);
    }

    return rc;
}


ngx_http_trifecta_sentinel_t *
ngx_http_trifecta_sentinel_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_server_t *server,
    ngx_http_trifecta_sentinel_pt handler, void *data)
{
    ngx_http_trifecta_sentinel_t  *s;

    s = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_sentinel_t));
    if (s == NULL) {
        return NULL;
    }

    s->data = data;
    s->log = cycle->log;
    s->fd = (ngx_socket_t) -1;
    s->server = server;
    s->handler = handler;

    s->timer.handler = ngx_http_trifecta_sentinel_timer;
    s->timer.data = s;
    s->timer.log = cycle->log;
    s->timer.cancelable = 1;

    if (ngx_http_trifecta_sentinel_question(s, cycle->pool,
                                            &mcf->sentinel_password)
        != NGX_OK)
    {
        return NULL;
    }

    return s;
}
