#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"


#define REQUEST_PATHS  1000000


struct request_s {
    char    *text;
    size_t   len;
    size_t   size;

    char    *number[8];         /* where the number of the request goes */
    int      numbers;

    char   **paths;
    size_t   npaths;
    char    *before;            /* the path ... */
    char    *after;             /* ... and after it */
};


static void
request_marks(request_t *rq)
{
    char  *p;

    for (p = strstr(rq->text, "@@"); p && rq->numbers < 8;
         p = strstr(p + 2, "@@"))
    {
        rq->number[rq->numbers++] = p;
    }
}


/* Each "@@" gets the room that a number takes. */

static char *
request_widened(const char *text)
{
    char        *out;
    size_t       n;
    const char  *p;

    n = strlen(text) + 1;
    for (p = strstr(text, "@@"); p; p = strstr(p + 2, "@@")) {
        n += LOAD_DIGITS;
    }

    out = must(calloc(1, n), "a request");
    n = 0;

    while (*text) {
        if (strncmp(text, "@@", 2) == 0) {
            memset(out + n, '0', LOAD_DIGITS);
            memcpy(out + n, "@@", 2);
            n += LOAD_DIGITS;
            text += 2;

        } else {
            out[n++] = *text++;
        }
    }

    return out;
}


static void
request_paths(request_t *rq, const char *name)
{
    FILE    *file;
    char    *line;
    size_t   size;
    ssize_t  n;

    file = must(fopen(name, "r"), name);
    rq->paths = must(calloc(REQUEST_PATHS, sizeof(char *)), "paths");
    line = NULL;
    size = 0;

    while (rq->npaths < REQUEST_PATHS && (n = getline(&line, &size, file)) > 0)
    {
        line[strcspn(line, "\r\n")] = '\0';
        rq->paths[rq->npaths++] = must(strdup(line), "a path");
    }

    free(line);
    fclose(file);

    if (rq->npaths == 0) {
        fail("%s has no paths", name);
    }
}


request_t *
request_create(const load_opt_t *opt)
{
    char        length[64], *body, *path;
    size_t       n;
    request_t   *rq;

    rq = must(calloc(1, sizeof(*rq)), "a request");
    body = request_widened(opt->body ? opt->body : "");
    path = request_widened(opt->path);
    length[0] = '\0';

    if (opt->body) {
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n",
                 strlen(body));
    }

    n = strlen(path) + strlen(opt->headers) + strlen(body) + 512;

    rq->before = must(calloc(1, n), "a request");
    rq->after = must(calloc(1, n), "a request");

    snprintf(rq->before, n, "%s ", opt->method);
    snprintf(rq->after, n, " HTTP/1.1\r\nHost: %s\r\n%s%s\r\n%s", opt->host,
             opt->headers, length, body);

    if (opt->paths) {
        request_paths(rq, opt->paths);
        rq->size = n + 4096;

    } else {
        rq->size = 2 * n;
    }

    rq->text = must(calloc(1, rq->size), "a request");

    if (!opt->paths) {
        rq->len = snprintf(rq->text, rq->size, "%s%s%s", rq->before, path,
                           rq->after);
        request_marks(rq);
    }

    free(body);
    free(path);
    return rq;
}


const char *
request_text(request_t *rq, uint64_t n, size_t *len)
{
    int   i;
    char  digits[32];

    if (rq->npaths) {
        rq->len = snprintf(rq->text, rq->size, "%s%s%s", rq->before,
                           rq->paths[n % rq->npaths], rq->after);
        if (rq->len >= rq->size) {
            fail("a path is too long");
        }
    }

    snprintf(digits, sizeof(digits), "%0*llu", LOAD_DIGITS,
             (unsigned long long) (n % 100000000));

    for (i = 0; i < rq->numbers; i++) {
        memcpy(rq->number[i], digits, LOAD_DIGITS);
    }

    *len = rq->len;
    return rq->text;
}


/* Samples */

void
sample_add(sample_t *s, int64_t ns)
{
    if (s->n == s->size) {
        s->size = s->size ? 2 * s->size : 65536;
        s->value = must(realloc(s->value, s->size * sizeof(uint32_t)),
                        "samples");
    }

    s->value[s->n++] = ns < 0 ? 0 : ns / 1000 > UINT32_MAX ? UINT32_MAX
                                                            : ns / 1000;
    s->sorted = 0;
}


static int
sample_cmp(const void *a, const void *b)
{
    uint32_t  x, y;

    x = *(const uint32_t *) a;
    y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


/* The smallest value that at least this share of all does not exceed. */

double
sample_at(sample_t *s, double quantile)
{
    size_t  k;

    if (s->n == 0) {
        return 0;
    }

    if (!s->sorted) {
        qsort(s->value, s->n, sizeof(uint32_t), sample_cmp);
        s->sorted = 1;
    }

    k = (size_t) (quantile * s->n);
    if (k < quantile * s->n) {
        k++;
    }

    return s->value[k == 0 ? 0 : k - 1];
}


void
sample_print(const char *name, sample_t *s)
{
    printf("\"%s\": {\"n\": %zu, \"p50\": %.0f, \"p90\": %.0f, \"p99\": %.0f,"
           " \"p999\": %.0f, \"max\": %.0f}, ", name, s->n, sample_at(s, 0.5),
           sample_at(s, 0.9), sample_at(s, 0.99), sample_at(s, 0.999),
           sample_at(s, 1));
}


void *
must(void *p, const char *what)
{
    if (p == NULL) {
        fail("%s: %m", what);
    }

    return p;
}


void
fail(const char *fmt, ...)
{
    va_list  args;

    fputs("load: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}


void
request_time(FILE *file, uint64_t n, int seen)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    fprintf(file, "%llu %lld.%06ld %d\n", (unsigned long long) n,
            (long long) ts.tv_sec, ts.tv_nsec / 1000, seen);
}
