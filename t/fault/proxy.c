#define _GNU_SOURCE

#include "proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


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


int
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


void
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
