#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "load.h"


#define LOAD_GRACE  10.0        /* seconds for what is under way at the end */


typedef struct {
    int        fd;              /* -1: to be connected */
    SSL       *ssl;
    int        busy;
    int        shaking;         /* TLS' handshake is not over */
    uint32_t   events;
    int64_t    due;
    uint64_t   number;          /* of the request */
    int64_t    last;            /* when a piece came */
    int        begun;           /* the text was seen */
    char      *out;
    size_t     sent;
    size_t     len;
    size_t     size;
    size_t     carried;
    char       carry[2 * LOAD_CARRY + 2];
    char      *body;            /* of this answer, when it is kept */
    size_t     nbody;
    http_t     http;
} conn_t;


typedef struct {
    load_opt_t          opt;
    SSL_CTX            *tls;
    struct sockaddr_storage  addr;
    socklen_t           addrlen;
    int                 family;
    int                 ep;
    conn_t             *conns;
    conn_t            **idle;
    int                 nidle;
    request_t          *request;
    FILE               *keep;
    FILE               *times;

    int64_t             start;      /* of the first request */
    int64_t             counted;    /* what is due before is warming up */
    int64_t             stop;
    uint64_t            next;       /* number of the next request */
    uint64_t            open;       /* sent and not answered */
    int64_t             ended;      /* when the last counted one ended */

    uint64_t            good;
    uint64_t            bad;        /* another status than expected */
    uint64_t            broken;
    uint64_t            connected;
    int                 worst;      /* status of a bad one */
    sample_t            latency;
    sample_t            first;
    sample_t            gap;
} load_t;


static void load_event(load_t *l, conn_t *c);
static void load_ended(load_t *l, conn_t *c, int how);


static int64_t
load_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}


static void
load_watch(load_t *l, conn_t *c, uint32_t events)
{
    struct epoll_event  ev;

    if (c->events == events) {
        return;
    }

    ev.events = events;
    ev.data.ptr = c;

    if (epoll_ctl(l->ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
                  &ev) != 0)
    {
        fail("epoll_ctl: %m");
    }

    c->events = events;
}


static void
load_close(conn_t *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd != -1) {
        close(c->fd);
    }
    c->fd = -1;
    c->events = 0;
}


static void
load_connect(load_t *l, conn_t *c)
{
    int  on;

    on = 1;
    c->fd = socket(l->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (c->fd == -1) {
        fail("socket: %m");
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (connect(c->fd, (struct sockaddr *) &l->addr, l->addrlen) != 0
        && errno != EINPROGRESS)
    {
        fail("connect: %m");
    }

    l->connected++;
    c->shaking = 0;

    if (l->tls) {
        c->ssl = must(SSL_new(l->tls), "SSL_new");
        SSL_set_fd(c->ssl, c->fd);
        SSL_set1_host(c->ssl, l->opt.host);
        SSL_set_tlsext_host_name(c->ssl, l->opt.host);
        SSL_set_connect_state(c->ssl);
        c->shaking = 1;
    }
}


/* Sends request n, due then, over a connection that has nothing to do. */

static void
load_send(load_t *l, conn_t *c, uint64_t n, int64_t due)
{
    size_t       len;
    const char  *text;

    text = request_text(l->request, n, &len);

    if (c->size < len) {
        c->size = 2 * len;
        c->out = must(realloc(c->out, c->size), "a request");
    }

    memcpy(c->out, text, len);
    c->len = len;
    c->sent = 0;
    c->due = due;
    c->number = n;
    c->last = 0;
    c->begun = 0;
    c->carried = 0;
    c->nbody = 0;
    c->busy = 1;
    l->open++;
    http_begin(&c->http);

    if (c->fd == -1) {
        load_connect(l, c);
        load_watch(l, c, EPOLLIN | EPOLLOUT);

    } else {
        load_event(l, c);
    }
}


/* What came, in the body: when it began, and the pauses in it. */

static void
load_body(void *data, const char *text, size_t len)
{
    load_t  *l;
    conn_t  *c;
    int64_t  now;
    size_t   n;
    void   **both;

    both = data;
    l = both[0];
    c = both[1];
    now = load_now();

    if (l->keep) {
        c->body = must(realloc(c->body, c->nbody + len + 1), "a body");
        memcpy(c->body + c->nbody, text, len);
        c->nbody += len;
    }

    if (l->opt.until && !c->begun) {
        n = strlen(l->opt.until) - 1;

        if (memmem(text, len, l->opt.until, n + 1) != NULL) {
            c->begun = 1;

        } else {
            /* it may lie over the edge of two pieces */
            memcpy(c->carry + c->carried, text, len < n ? len : n);
            if (memmem(c->carry, c->carried + (len < n ? len : n),
                       l->opt.until, n + 1) != NULL)
            {
                c->begun = 1;
            }
            c->carried = len < n ? len : n;
            memcpy(c->carry, text + len - c->carried, c->carried);
        }

        if (c->begun && c->due >= l->counted) {
            sample_add(&l->first, now - c->due);
        }

    } else if (c->begun && c->due >= l->counted) {
        sample_add(&l->gap, now - c->last);
    }

    c->last = now;
}


/* 1: goes on; 0: waits; -1: the connection is over. */

static int
load_tls(load_t *l, conn_t *c, int rc)
{
    switch (SSL_get_error(c->ssl, rc)) {

    case SSL_ERROR_WANT_READ:
        load_watch(l, c, EPOLLIN);
        return 0;

    case SSL_ERROR_WANT_WRITE:
        load_watch(l, c, EPOLLIN | EPOLLOUT);
        return 0;

    default:
        if (c->shaking) {
            ERR_print_errors_fp(stderr);
        }
        ERR_clear_error();
        return -1;
    }
}


static int
load_write(load_t *l, conn_t *c)
{
    ssize_t  n;

    while (c->sent < c->len) {

        if (c->ssl) {
            n = SSL_write(c->ssl, c->out + c->sent, c->len - c->sent);
            if (n <= 0) {
                return load_tls(l, c, n);
            }
            c->shaking = 0;

        } else {
            n = send(c->fd, c->out + c->sent, c->len - c->sent, MSG_NOSIGNAL);
            if (n < 0) {
                if (errno != EAGAIN && errno != ENOTCONN) {
                    return -1;
                }
                load_watch(l, c, EPOLLIN | EPOLLOUT);
                return 0;
            }
        }

        c->sent += n;
    }

    load_watch(l, c, EPOLLIN);
    return 1;
}


static void
load_event(load_t *l, conn_t *c)
{
    int           rc;
    char          text[65536];
    void         *both[2];
    ssize_t       n;

    if (c->busy && c->sent < c->len) {
        rc = load_write(l, c);
        if (rc != 1) {
            if (rc == -1) {
                load_ended(l, c, -1);
            }
            return;
        }
    }

    both[0] = l;
    both[1] = c;

    for ( ;; ) {
        if (c->ssl) {
            n = SSL_read(c->ssl, text, sizeof(text));
            if (n <= 0) {
                rc = load_tls(l, c, n);
                if (rc == 0) {
                    return;
                }
                n = 0;
            }

        } else {
            n = recv(c->fd, text, sizeof(text), 0);
            if (n < 0 && errno == EAGAIN) {
                return;
            }
        }

        if (!c->busy) {
            /* the server has closed what it kept */
            load_close(c);
            return;
        }

        if (n <= 0) {
            http_end(&c->http);
        } else {
            http_feed(&c->http, text, n, load_body, both);
        }

        if (c->http.state == HTTP_DONE || c->http.state == HTTP_BROKEN) {
            load_ended(l, c, n <= 0 || c->http.close ? -1 : 0);
            return;
        }
    }
}


/* The answer is there, or will never be; how -1: so is the connection. */

static void
load_ended(load_t *l, conn_t *c, int how)
{
    int64_t  now;

    now = load_now();
    c->busy = 0;
    l->open--;
    l->idle[l->nidle++] = c;

    if (how == -1 || c->http.state != HTTP_DONE) {
        load_close(c);
    }

    if (c->due < l->counted) {
        return;
    }

    l->ended = now;

    if (c->http.state != HTTP_DONE) {
        l->broken++;
        return;
    }

    if (c->http.status != l->opt.status) {
        l->bad++;
        l->worst = c->http.status;
        return;
    }

    l->good++;
    sample_add(&l->latency, now - c->due);

    if (l->keep) {
        fprintf(l->keep, "%.*s\n", (int) c->nbody, c->body);
    }

    if (l->times) {
        request_time(l->times, c->number, c->begun);
    }
}


/* Sends all that is due; returns how long nothing will be, or -1. */

static int64_t
load_due(load_t *l)
{
    int64_t  now, due;

    for ( ;; ) {
        if (l->opt.requests && l->next >= l->opt.requests) {
            l->stop = 0;
            return -1;
        }

        now = load_now();
        due = l->opt.rate > 0
              ? l->start + (int64_t) (l->next * (1e9 / l->opt.rate)) : now;

        if (due >= l->stop) {
            return -1;
        }

        if (due > now) {
            return due - now;
        }

        if (l->nidle == 0) {
            return -1;
        }

        load_send(l, l->idle[--l->nidle], l->next, due);
        l->next++;
    }
}


static void
load_run(load_t *l)
{
    int                 i, n;
    conn_t             *c;
    int64_t             wait, end;
    struct timespec     ts;
    struct epoll_event  events[256];

    l->start = load_now();
    l->counted = l->start + (int64_t) (l->opt.warmup * 1e9);
    l->stop = l->counted + (int64_t) (l->opt.seconds * 1e9);
    end = l->stop + (int64_t) (LOAD_GRACE * 1e9);

    for ( ;; ) {
        wait = load_due(l);

        if (wait == -1 && l->open == 0) {
            return;
        }

        if (load_now() > end) {
            l->broken += l->open;
            return;
        }

        if (wait == -1 || wait > 100000000) {
            wait = 100000000;
        }

        ts.tv_sec = 0;
        ts.tv_nsec = wait;
        n = epoll_pwait2(l->ep, events, 256, &ts, NULL);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;
            if (c->fd != -1) {
                load_event(l, c);
            }
        }
    }
}


static void
load_setup(load_t *l)
{
    int               i, rc;
    struct addrinfo  *ai, hints;

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;

    rc = getaddrinfo(l->opt.host, l->opt.port, &hints, &ai);
    if (rc != 0) {
        fail("%s: %s", l->opt.host, gai_strerror(rc));
    }

    memcpy(&l->addr, ai->ai_addr, ai->ai_addrlen);
    l->addrlen = ai->ai_addrlen;
    l->family = ai->ai_family;
    freeaddrinfo(ai);

    if (l->opt.ca) {
        l->tls = must(SSL_CTX_new(TLS_client_method()), "SSL_CTX_new");
        SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_load_verify_locations(l->tls, l->opt.ca, NULL) != 1) {
            fail("%s is no CA file", l->opt.ca);
        }
    }

    l->ep = epoll_create1(EPOLL_CLOEXEC);
    l->conns = must(calloc(l->opt.connections, sizeof(conn_t)), "connections");
    l->idle = must(calloc(l->opt.connections, sizeof(conn_t *)),
                   "connections");
    l->request = request_create(&l->opt);

    for (i = l->opt.connections; i-- > 0; ) {
        l->conns[i].fd = -1;
        l->idle[l->nidle++] = &l->conns[i];
    }

    if (l->opt.keep) {
        l->keep = must(fopen(l->opt.keep, "w"), l->opt.keep);
    }

    if (l->opt.times) {
        l->times = must(fopen(l->opt.times, "w"), l->opt.times);
    }

    signal(SIGPIPE, SIG_IGN);
    /* sleeps are as long as they were asked for */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}


static void
load_report(load_t *l)
{
    double         seconds;
    struct rusage  ru;

    getrusage(RUSAGE_SELF, &ru);
    seconds = (l->ended - l->counted) / 1e9;

    printf("{\"good\": %llu, \"bad\": %llu, \"broken\": %llu, \"worst\": %d,"
           " \"sent\": %llu, \"connections\": %llu, \"seconds\": %.3f,"
           " \"rate\": %.1f, ",
           (unsigned long long) l->good, (unsigned long long) l->bad,
           (unsigned long long) l->broken, l->worst,
           (unsigned long long) l->next, (unsigned long long) l->connected,
           seconds, seconds > 0 ? l->good / seconds : 0);

    sample_print("latency", &l->latency);

    if (l->opt.until) {
        sample_print("first", &l->first);
        sample_print("gap", &l->gap);
    }

    printf("\"cpu\": %.3f}\n",
           ru.ru_utime.tv_sec + ru.ru_stime.tv_sec
           + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
}


int
main(int argc, char **argv)
{
    static load_t  l;

    load_options(&l.opt, argc, argv);
    load_setup(&l);
    load_run(&l);
    load_report(&l);

    return 0;
}
