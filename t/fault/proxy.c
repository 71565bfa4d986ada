#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


/*
 * A TCP connection that misbehaves: proxy PORT TARGET, both on 127.0.0.1.
 *
 * Everything that is accepted at PORT is passed on to TARGET.  Commands come
 * as lines on standard input, each is answered by "ok" or "what?"; at the end
 * of the input the process ends.  "up" is from the client to the target,
 * "down" back; without a direction both are meant.
 *
 *   latency MS [up|down]   each piece is passed on that much later
 *   rate N [up|down]       N bytes a second, a connection
 *   slice [up|down]        one byte at a time
 *   stall [up|down]        nothing is passed on, nothing is lost: a network
 *                          that is cut, and whose TCP sends it all again when
 *                          it is healed; a new connection waits likewise
 *   hole [up|down]         what comes is swallowed and never seen again: a
 *                          peer that is gone without a word; heal resets
 *                          what lost bytes
 *   reset                  resets (RST) the connections there are
 *   cut                    closes (FIN) the connections there are
 *   refuse                 no new connection is accepted, the connect fails
 *   target PORT            new connections go there
 *   heal                   none of all that any more
 *   count                  "ok", how many connections there are, and how many
 *                          bytes were passed on up and down
 *
 * One thread, one poll(); bytes that wait are kept for each direction with
 * the time when they may go on, and no more is read than fits.
 */


#define TF_PROXY_LINKS   512
#define TF_PROXY_BUF     65536
#define TF_PROXY_PIECES  256

#define TF_UP            0
#define TF_DOWN          1


typedef struct {
    long long     due;              /* ms, of the bytes up to end */
    size_t        end;              /* counted from the first byte ever */
} tf_piece_t;

typedef struct {
    char          buf[TF_PROXY_BUF];
    size_t        start;            /* first byte in buf that waits */
    size_t        last;             /* after the last one */
    size_t        in;               /* bytes ever */
    size_t        out;
    tf_piece_t    pieces[TF_PROXY_PIECES];
    size_t        first;            /* of pieces, a ring */
    size_t        npieces;
    long long     budget_at;        /* when the rate was reckoned last, ms */
    double        budget;           /* bytes that may go now */
    int           eof;              /* the source has ended */
    int           shut;             /* and the sink was told */
} tf_way_t;

typedef struct {
    int           fd[2];            /* [TF_UP]: the client's, whose bytes go
                                     * up; [TF_DOWN]: the target's */
    int           connected;
    int           lost;             /* a hole took bytes of it */
    tf_way_t      way[2];
} tf_link_t;

typedef struct {
    long          latency;
    long          rate;
    int           slice;
    int           stall;
    int           hole;
} tf_fault_t;

typedef struct {
    int           port;
    int           target;
    int           listen;           /* -1: refused */
    tf_fault_t    fault[2];
    tf_link_t    *links[TF_PROXY_LINKS];
    size_t        nlinks;
    unsigned long long  passed[2];
} tf_proxy_t;


static long long
tf_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static struct sockaddr_in
tf_address(int port)
{
    struct sockaddr_in  addr;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((unsigned short) port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    return addr;
}


static int
tf_listen(int port)
{
    int                 fd, on;
    struct sockaddr_in  addr;

    on = 1;
    addr = tf_address(port);
    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || listen(fd, 128) == -1)
    {
        perror("proxy: listen");
        exit(1);
    }

    return fd;
}


static void
tf_link_close(tf_proxy_t *proxy, size_t n, int reset)
{
    int            i;
    tf_link_t     *link;
    struct linger  linger;

    link = proxy->links[n];
    linger.l_onoff = 1;
    linger.l_linger = 0;

    for (i = 0; i < 2; i++) {
        if (reset) {
            (void) setsockopt(link->fd[i], SOL_SOCKET, SO_LINGER, &linger,
                              sizeof(linger));
        }

        (void) close(link->fd[i]);
    }

    free(link);
    proxy->links[n] = proxy->links[--proxy->nlinks];
}


static void
tf_accept(tf_proxy_t *proxy)
{
    int                 fd, to, on;
    tf_link_t          *link;
    struct sockaddr_in  addr;

    on = 1;
    fd = accept4(proxy->listen, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

    if (fd == -1) {
        return;
    }

    to = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    link = proxy->nlinks == TF_PROXY_LINKS ? NULL : calloc(1, sizeof(*link));

    if (to == -1 || link == NULL) {
        (void) close(fd);
        (void) close(to);
        free(link);
        return;
    }

    addr = tf_address(proxy->target);
    link->fd[TF_UP] = fd;
    link->fd[TF_DOWN] = to;
    proxy->links[proxy->nlinks++] = link;

    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void) setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (connect(to, (struct sockaddr *) &addr, sizeof(addr)) == -1
        && errno != EINPROGRESS)
    {
        tf_link_close(proxy, proxy->nlinks - 1, 1);
    }
}


/* Whether more can be taken in; what waits is moved to the front. */

static int
tf_room(tf_way_t *way)
{
    if (way->start != 0) {
        memmove(way->buf, way->buf + way->start, way->last - way->start);
        way->last -= way->start;
        way->start = 0;
    }

    return way->last < TF_PROXY_BUF && way->npieces < TF_PROXY_PIECES;
}


/* Takes what came; -1 is an error of the source. */

static int
tf_take(tf_proxy_t *proxy, tf_link_t *link, int dir)
{
    ssize_t      n;
    tf_way_t    *way;
    tf_piece_t  *piece;

    way = &link->way[dir];
    n = read(link->fd[dir], way->buf + way->last, TF_PROXY_BUF - way->last);

    if (n == -1) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }

    if (n == 0) {
        way->eof = 1;
        return 0;
    }

    if (proxy->fault[dir].hole) {
        link->lost = 1;
        return 0;
    }

    way->last += (size_t) n;
    way->in += (size_t) n;

    piece = &way->pieces[(way->first + way->npieces++) % TF_PROXY_PIECES];
    piece->end = way->in;
    piece->due = tf_now() + proxy->fault[dir].latency;

    return 0;
}


/* How many bytes may go now; if none, *wait is lowered to when some may. */

static size_t
tf_may_go(const tf_fault_t *fault, tf_way_t *way, long long now, long *wait)
{
    size_t  i, n;

    if (fault->stall) {
        return 0;
    }

    n = 0;

    for (i = 0; i < way->npieces; i++) {
        const tf_piece_t  *p;

        p = &way->pieces[(way->first + i) % TF_PROXY_PIECES];

        if (p->due > now) {
            if (*wait == -1 || *wait > p->due - now) {
                *wait = (long) (p->due - now);
            }
            break;
        }

        n = p->end - way->out;
    }

    if (fault->rate != 0 && n != 0) {
        way->budget += (double) (now - way->budget_at) * (double) fault->rate
                       / 1000;
        way->budget_at = now;

        if (way->budget > (double) fault->rate / 10 + 1) {
            way->budget = (double) fault->rate / 10 + 1;
        }

        if (way->budget < 1) {
            n = 0;
            *wait = *wait == -1 || *wait > 5 ? 5 : *wait;
        } else if ((double) n > way->budget) {
            n = (size_t) way->budget;
        }
    }

    return n > 1 && fault->slice ? 1 : n;
}


/* Passes on what may go; -1 is an error of the sink. */

static int
tf_give(tf_proxy_t *proxy, tf_link_t *link, int dir, long *wait)
{
    size_t             n;
    ssize_t            sent;
    tf_way_t          *way;
    const tf_fault_t  *fault;

    way = &link->way[dir];
    fault = &proxy->fault[dir];

    if (!link->connected) {
        return 0;
    }

    while ((n = tf_may_go(fault, way, tf_now(), wait)) != 0) {
        sent = send(link->fd[!dir], way->buf + way->start, n, MSG_NOSIGNAL);

        if (sent == -1) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }

        way->start += (size_t) sent;
        way->out += (size_t) sent;
        way->budget -= (double) sent;
        proxy->passed[dir] += (unsigned long long) sent;

        while (way->npieces != 0
               && way->pieces[way->first].end <= way->out)
        {
            way->first = (way->first + 1) % TF_PROXY_PIECES;
            way->npieces--;
        }
    }

    if (way->eof && !way->shut && way->start == way->last && !fault->stall
        && !fault->hole)
    {
        way->shut = 1;
        (void) shutdown(link->fd[!dir], SHUT_WR);
    }

    return 0;
}


static void
tf_close_all(tf_proxy_t *proxy, int reset, int lost_only)
{
    size_t  n;

    for (n = proxy->nlinks; n-- > 0; ) {
        if (!lost_only || proxy->links[n]->lost) {
            tf_link_close(proxy, n, reset);
        }
    }
}


static void
tf_refuse(tf_proxy_t *proxy)
{
    if (proxy->listen != -1) {
        (void) close(proxy->listen);
        proxy->listen = -1;
    }
}


static int
tf_command(tf_proxy_t *proxy, char *line)
{
    int   dir, from, to;
    long  value;
    char  word[16], arg[16], way[16];

    word[0] = arg[0] = way[0] = '\0';
    (void) sscanf(line, "%15s %15s %15s", word, arg, way);
    value = strtol(arg, NULL, 10);

    if (strcmp(word, "latency") != 0 && strcmp(word, "rate") != 0) {
        memcpy(way, arg, sizeof(way));
    }

    from = strcmp(way, "down") == 0 ? TF_DOWN : TF_UP;
    to = strcmp(way, "up") == 0 ? TF_UP : TF_DOWN;

    if (strcmp(word, "reset") == 0 || strcmp(word, "cut") == 0) {
        tf_close_all(proxy, word[0] == 'r', 0);
        return 0;
    }

    if (strcmp(word, "refuse") == 0) {
        tf_refuse(proxy);
        return 0;
    }

    if (strcmp(word, "target") == 0) {
        if (value < 1 || value > 65535) {
            return -1;
        }

        proxy->target = (int) value;
        return 0;
    }

    if (strcmp(word, "heal") == 0) {
        memset(proxy->fault, 0, sizeof(proxy->fault));
        tf_close_all(proxy, 1, 1);

        if (proxy->listen == -1) {
            proxy->listen = tf_listen(proxy->port);
        }

        return 0;
    }

    for (dir = from; dir <= to; dir++) {
        tf_fault_t  *f;

        f = &proxy->fault[dir];

        if (strcmp(word, "latency") == 0) {
            f->latency = value;
        } else if (strcmp(word, "rate") == 0) {
            f->rate = value;
        } else if (strcmp(word, "slice") == 0) {
            f->slice = 1;
        } else if (strcmp(word, "stall") == 0) {
            f->stall = 1;
        } else if (strcmp(word, "hole") == 0) {
            f->hole = 1;
        } else {
            return -1;
        }
    }

    return 0;
}


/* Commands that have come; at the end of the input there is no return. */

static void
tf_commands(tf_proxy_t *proxy)
{
    char          *line, *end;
    ssize_t        n;
    static char    input[1024];
    static size_t  have;

    n = read(STDIN_FILENO, input + have, sizeof(input) - 1 - have);

    if (n <= 0) {
        exit(0);
    }

    have += (size_t) n;
    input[have] = '\0';
    line = input;

    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';

        if (strcmp(line, "count") == 0) {
            printf("ok %zu %llu %llu\n", proxy->nlinks, proxy->passed[TF_UP],
                   proxy->passed[TF_DOWN]);
        } else {
            puts(tf_command(proxy, line) == 0 ? "ok" : "what?");
        }

        line = end + 1;
    }

    (void) fflush(stdout);
    have = strlen(line);
    memmove(input, line, have + 1);
}


/* What is to be looked at of one socket, as the source of one way and the
 * sink of the other. */

static short
tf_events(tf_proxy_t *proxy, tf_link_t *link, int side, long *wait)
{
    short      events;
    tf_way_t  *from, *to;

    events = 0;
    from = &link->way[side];
    to = &link->way[!side];

    if (side == TF_DOWN && !link->connected) {
        /* a network that is cut does not shake hands */
        return proxy->fault[TF_UP].stall || proxy->fault[TF_DOWN].stall
               ? 0 : POLLOUT;
    }

    if (!from->eof && (!proxy->fault[side].stall || from->last == 0)
        && tf_room(from))
    {
        events |= POLLIN;
    }

    if (tf_may_go(&proxy->fault[!side], to, tf_now(), wait) != 0) {
        events |= POLLOUT;
    }

    return events;
}


/* One pass over a connection; 1 is its end, -1 an untimely one. */

static int
tf_link_run(tf_proxy_t *proxy, tf_link_t *link, const struct pollfd *p,
    long *wait)
{
    int        side, error;
    socklen_t  size;

    if (!link->connected && p[TF_DOWN].revents != 0) {
        size = sizeof(error);
        (void) getsockopt(link->fd[TF_DOWN], SOL_SOCKET, SO_ERROR, &error,
                          &size);
        if (error != 0) {
            return -1;
        }
        link->connected = 1;
    }

    for (side = 0; side < 2; side++) {
        if (link->connected && (p[side].revents & POLLERR)) {
            return -1;
        }

        if ((p[side].revents & (POLLIN|POLLHUP))
            && (p[side].events & POLLIN)
            && tf_take(proxy, link, side) == -1)
        {
            return -1;
        }
    }

    for (side = 0; side < 2; side++) {
        if (tf_give(proxy, link, side, wait) == -1) {
            return -1;
        }
    }

    return link->way[TF_UP].shut && link->way[TF_DOWN].shut;
}


int
main(int argc, char **argv)
{
    int                   rc;
    long                  wait;
    size_t                i, n;
    tf_proxy_t            proxy;
    static struct pollfd  p[2 + 2 * TF_PROXY_LINKS];

    if (argc != 3) {
        fprintf(stderr, "usage: proxy PORT TARGET\n");
        return 2;
    }

    memset(&proxy, 0, sizeof(proxy));
    proxy.port = atoi(argv[1]);
    proxy.target = atoi(argv[2]);
    proxy.listen = tf_listen(proxy.port);
    puts("ok");
    (void) fflush(stdout);
    wait = 0;

    for ( ;; ) {
        p[0].fd = STDIN_FILENO;
        p[0].events = POLLIN;
        p[1].fd = proxy.listen;
        p[1].events = POLLIN;
        n = proxy.nlinks;

        for (i = 0; i < 2 * n; i++) {
            tf_link_t  *link;

            link = proxy.links[i / 2];
            p[2 + i].events = tf_events(&proxy, link, (int) i % 2, &wait);
            p[2 + i].revents = 0;

            /* poll() tells errors unasked, over and over */
            p[2 + i].fd = p[2 + i].events == 0 ? -1 : link->fd[i % 2];
        }

        if (poll(p, 2 + 2 * n, (int) wait) == -1 && errno != EINTR) {
            perror("proxy: poll");
            return 1;
        }

        wait = -1;

        for (i = n; i-- > 0; ) {
            rc = tf_link_run(&proxy, proxy.links[i], &p[2 + 2 * i], &wait);

            if (rc != 0) {
                tf_link_close(&proxy, i, rc == -1);
            }
        }

        if (p[1].revents & POLLIN) {
            tf_accept(&proxy);
        }

        if (p[0].revents != 0) {
            tf_commands(&proxy);
        }
    }
}
