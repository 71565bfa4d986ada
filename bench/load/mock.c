#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"


/*
 * mock PORT DELAY PIECES GAP [WORDS [FILE]]: a model server in the shape of
 * OpenAI that costs next to nothing.  A request with "stream":true it answers
 * after DELAY milliseconds with PIECES chunks, GAP milliseconds apart; each is
 * WORDS (1) times "zq" and a space.  Any other request it answers when such a
 * stream would be over: a model needs its time whether somebody looks on or
 * not.  A request with "job-" and eight digits leaves these in FILE.
 *
 * Connections are few enough (thousands) to look at all of them for the next
 * that is due: a heap would be faster and longer.
 */

#define MOCK_CONNS  16384
#define MOCK_BUF    (256 * 1024)
#define MOCK_WORDS  4096


typedef struct {
    int       fd;
    int       stream;
    int       piece;            /* next to be sent */
    int64_t   due;              /* 0: waits for a request */
    size_t    n;
    char     *buf;
} mock_conn_t;


static mock_conn_t  *conns[MOCK_CONNS];
static int           top;
static int           pieces;
static int64_t       delay, gap;
static char          words[3 * MOCK_WORDS + 1];
static FILE         *note;


static int64_t
mock_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}


static void
mock_close(mock_conn_t *c)
{
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->buf);
    free(c);
}


/* Answers are short: a socket that cannot take one is given up. */

static int
mock_put(mock_conn_t *c, const char *text, size_t len)
{
    if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t) len) {
        mock_close(c);
        return -1;
    }

    return 0;
}


static int
mock_chunk(char *to, const char *data)
{
    return sprintf(to, "%zx\r\n%s\r\n", strlen(data), data);
}


static void
mock_whole(mock_conn_t *c)
{
    int                n;
    char               text[1024];
    static const char  body[] =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\","
        "\"created\":1700000000,\"model\":\"mock\",\"choices\":[{\"index\":0,"
        "\"message\":{\"role\":\"assistant\",\"content\":\"zq zq zq zq\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
        "\"completion_tokens\":4,\"total_tokens\":13}}";

    n = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%s", sizeof(body) - 1, body);
    c->due = 0;
    mock_put(c, text, n);
}


static void
mock_piece(mock_conn_t *c, int64_t now)
{
    int   n;
    char  data[sizeof(words) + 512], text[sizeof(words) + 1024];

    n = 0;

    if (c->piece == 0) {
        n = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
                    "\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    if (c->piece < pieces) {
        sprintf(data, "data: {\"id\":\"chatcmpl-1\",\"object\":"
                "\"chat.completion.chunk\",\"created\":1700000000,"
                "\"model\":\"mock\",\"choices\":[{\"index\":0,"
                "\"delta\":{\"content\":\"%s\"},"
                "\"finish_reason\":null}]}\n\n", words);
        n += mock_chunk(text + n, data);
        c->piece++;
        c->due = now + gap;

    } else {
        n += mock_chunk(text + n, "data: {\"id\":\"chatcmpl-1\",\"object\":"
                        "\"chat.completion.chunk\",\"created\":1700000000,"
                        "\"model\":\"mock\",\"choices\":[{\"index\":0,"
                        "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                        "data: [DONE]\n\n");
        n += sprintf(text + n, "0\r\n\r\n");
        c->due = 0;
    }

    mock_put(c, text, n);
}


static void
mock_due(mock_conn_t *c, int64_t now)
{
    if (c->stream) {
        mock_piece(c, now);
    } else {
        mock_whole(c);
    }
}


static void
mock_note(const char *body)
{
    const char  *p;

    p = strstr(body, "job-");

    if (p && strlen(p) >= 4 + LOAD_DIGITS) {
        fprintf(note, "%.*s\n", LOAD_DIGITS, p + 4);
        fflush(note);
    }
}


/* A request is whole when its Content-Length is there. */

static void
mock_read(mock_conn_t *c)
{
    char    *end, *p;
    size_t   len, head;
    ssize_t  n;

    for ( ;; ) {
        n = recv(c->fd, c->buf + c->n, MOCK_BUF - 1 - c->n, 0);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            mock_close(c);
            return;
        }

        if (n < 0) {
            break;
        }

        c->n += n;
        if (c->n == MOCK_BUF - 1) {
            mock_close(c);
            return;
        }
    }

    c->buf[c->n] = '\0';
    end = strstr(c->buf, "\r\n\r\n");
    if (end == NULL || c->due) {
        return;
    }

    head = end + 4 - c->buf;
    len = 0;

    for (p = strstr(c->buf, "\r\n"); p && p < end; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, "content-length:", 15) == 0) {
            len = strtoul(p + 17, NULL, 10);
        }
        if (strncasecmp(p + 2, "expect:", 7) == 0
            && mock_put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 0)
        {
            return;
        }
    }

    if (c->n < head + len) {
        return;
    }

    if (note) {
        mock_note(end);
    }

    c->stream = strstr(end, "\"stream\":true") != NULL
                || strstr(end, "\"stream\": true") != NULL;
    c->piece = 0;
    c->due = mock_now() + delay + (c->stream ? 0 : pieces * gap);
    memmove(c->buf, c->buf + head + len, c->n - head - len);
    c->n -= head + len;

    if (delay == 0) {
        mock_due(c, c->due);
    }
}


static int
mock_listen(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (fd == -1 || bind(fd, (struct sockaddr *) &sin, sizeof(sin)) != 0
        || listen(fd, 4096) != 0)
    {
        perror("mock: listen");
        exit(2);
    }

    return fd;
}


static void
mock_accept(int ep, int listener)
{
    int                 fd, on;
    mock_conn_t        *c;
    struct epoll_event  ev;

    on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC))
           != -1)
    {
        c = fd < MOCK_CONNS ? calloc(1, sizeof(*c)) : NULL;
        if (c == NULL || (c->buf = malloc(MOCK_BUF)) == NULL) {
            free(c);
            close(fd);
            continue;
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c->fd = fd;
        conns[fd] = c;
        top = fd > top ? fd : top;
        ev.events = EPOLLIN;
        ev.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    }
}


/* Serves all that is due; returns how long nothing will be. */

static int64_t
mock_timers(void)
{
    int      i;
    int64_t  now, next;

    now = mock_now();
    next = now + 1000000000;

    for (i = 0; i <= top; i++) {
        if (conns[i] && conns[i]->due && conns[i]->due <= now) {
            mock_due(conns[i], now);
        }
        if (conns[i] && conns[i]->due && conns[i]->due < next) {
            next = conns[i]->due;
        }
    }

    return next > now ? next - now : 0;
}


int
main(int argc, char **argv)
{
    int                 ep, i, n, listener;
    int64_t             wait;
    struct timespec     ts;
    struct epoll_event  ev, events[256];

    n = argc > 5 ? atoi(argv[5]) : 1;

    if (argc < 5 || argc > 7 || n < 1 || n > MOCK_WORDS) {
        fputs("usage: mock PORT DELAY-MS PIECES GAP-MS [WORDS [FILE]]\n",
              stderr);
        return 2;
    }

    for (i = 0; i < n; i++) {
        strcat(words, "zq ");
    }

    if (argc > 6 && (note = fopen(argv[6], "a")) == NULL) {
        perror(argv[6]);
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    delay = (int64_t) (atof(argv[2]) * 1e6);
    pieces = atoi(argv[3]);
    gap = (int64_t) (atof(argv[4]) * 1e6);
    listener = mock_listen(atoi(argv[1]));
    ep = epoll_create1(EPOLL_CLOEXEC);
    ev.events = EPOLLIN;
    ev.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);

    for ( ;; ) {
        wait = mock_timers();
        ts.tv_sec = wait / 1000000000;
        ts.tv_nsec = wait % 1000000000;
        n = epoll_pwait2(ep, events, 256, &ts, NULL);

        for (i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                mock_accept(ep, listener);
            } else if (conns[events[i].data.fd]) {
                mock_read(conns[events[i].data.fd]);
            }
        }
    }
}
