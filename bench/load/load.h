#ifndef LOAD_H
#define LOAD_H


/*
 * A load generator for HTTP/1.1, plain or over TLS: one thread, one epoll,
 * connections that are kept, one request at a time on each.
 *
 * Closed loop (rate 0): a connection asks again as soon as it was answered.
 * That finds how much can be done at most; its latencies only say how long a
 * queue of that many connections is.
 *
 * Open loop: request k is due at start + k / rate, whatever has become of
 * those before it.  It goes out on the next free connection, and its latency
 * counts from when it was due, not from when it could be sent: a server that
 * stops for a second has then spoiled all the requests of that second and not
 * one of each connection (which is what "coordinated omission" hides).
 *
 * A request is a text made once.  "@@" in its path or body stands for the
 * number of the request, filled up with zeros to LOAD_DIGITS, and a path may
 * come from a file of lines, taken in turn.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/ssl.h>

#define LOAD_DIGITS  8
#define LOAD_CARRY   63         /* of a body, to find a text over its edge */


typedef struct {
    const char  *host;
    const char  *port;
    const char  *path;
    const char  *method;
    const char  *body;
    const char  *ca;            /* TLS when it is set */
    const char  *paths;         /* file of paths, one a line */
    const char  *until;         /* text in a body: when the answer begins */
    const char  *keep;          /* file: bodies, one a line */
    const char  *times;         /* file: request, when it ended, "until" seen */
    char         headers[8192];
    int          connections;
    int          status;        /* expected */
    double       rate;          /* a second; 0: closed loop */
    double       warmup;        /* seconds that are not counted */
    double       seconds;
    uint64_t     requests;      /* 0: as many as fit */
} load_opt_t;

/* Ends the program when they make no sense. */
void load_options(load_opt_t *opt, int argc, char **argv);


/* An answer as it comes: what is complete, and what was seen in it. */

typedef enum {
    HTTP_HEAD = 0,
    HTTP_LENGTH,
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK,
    HTTP_CHUNK_END,
    HTTP_TRAILER,
    HTTP_UNTIL_CLOSE,
    HTTP_DONE,
    HTTP_BROKEN
} http_state_t;

typedef struct {
    http_state_t  state;
    int           status;
    unsigned      close:1;
    uint64_t      left;         /* of the body, or of the chunk */
    size_t        line;         /* bytes of the line or head kept */
    char          head[8192];
} http_t;

typedef void (*http_body_pt)(void *data, const char *text, size_t len);

void http_begin(http_t *h);
void http_feed(http_t *h, const char *text, size_t len, http_body_pt body,
    void *data);
void http_end(http_t *h);       /* the peer has closed */


/* The request's text, with the number or the path of this one in it. */

typedef struct request_s  request_t;

request_t *request_create(const load_opt_t *opt);
const char *request_text(request_t *rq, uint64_t n, size_t *len);

/* A line: its number, now by the clock on the wall, and what was seen. */
void request_time(FILE *file, uint64_t n, int seen);


/* Microseconds, all of them kept; sorted when they are asked for. */

typedef struct {
    uint32_t  *value;
    size_t     n;
    size_t     size;
    int        sorted;
} sample_t;

void sample_add(sample_t *s, int64_t ns);
double sample_at(sample_t *s, double quantile);
void sample_print(const char *name, sample_t *s);


void *must(void *p, const char *what);
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
