#include "proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


long long
tf_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (long long) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int
tf_room(tf_way_t *way)
{
    if (way->start != 0) {
        memmove(way->buf, way->buf + way->start, way->last - way->start);
        way->last -= way->start;
        way->start = 0;
    }

    return way->last < TF_PROXY_BUF && way->npieces < TF_PROXY_PIECES;
}


int
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


size_t
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


int
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
