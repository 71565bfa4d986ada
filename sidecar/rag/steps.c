#include "rag/steps.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"


static int tf_steps_open(pid_t pid);
static void tf_steps_read(tf_rag_steps_t *steps, tf_rag_cost_t *now);


void
tf_rag_steps_begin(tf_rag_steps_t *steps, const tf_pg_t *pg)
{
    pid_t  pid;

    pid = pg->conn != NULL ? PQbackendPID(pg->conn) : 0;

    if (pid != steps->backend) {
        tf_rag_steps_free(steps);
        steps->backend = pid;

        if (pid != 0) {
            steps->fd = tf_steps_open(pid);
        }
    }

    if (pid == 0 || steps->fd == -1) {
        steps->blind = 1;
    }

    tf_steps_read(steps, &steps->last);
}


/* On another machine the process of this number is somebody else's. */

static int
tf_steps_open(pid_t pid)
{
    int   fd;
    char  path[64], name[32];
    FILE *f;

    (void) snprintf(path, sizeof(path), "/proc/%ld/comm", (long) pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return -1;
    }

    name[0] = '\0';
    fd = fgets(name, sizeof(name), f) != NULL
         && strncmp(name, "postgres", 8) == 0 ? 0 : -1;
    (void) fclose(f);

    if (fd == -1) {
        return -1;
    }

    (void) snprintf(path, sizeof(path), "/proc/%ld/schedstat", (long) pid);

    return open(path, O_RDONLY | O_CLOEXEC);
}


static void
tf_steps_read(tf_rag_steps_t *steps, tf_rag_cost_t *now)
{
    char             text[128];
    ssize_t          n;
    struct timespec  ts;

    now->wall = (double) tf_clock_us() / 1e3;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    now->own = (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
    now->store = 0;

    if (steps->blind) {
        return;
    }

    n = pread(steps->fd, text, sizeof(text) - 1, 0);

    if (n <= 0) {
        steps->blind = 1;
        return;
    }

    text[n] = '\0';
    now->store = strtod(text, NULL) / 1e6;
}


void
tf_rag_step(tf_rag_steps_t *steps, const char *name)
{
    size_t          i;
    tf_rag_cost_t   now, *sum;

    if (steps == NULL) {
        return;
    }

    tf_steps_read(steps, &now);

    for (i = 0; i < steps->n && strcmp(steps->of[i].name, name) != 0; i++) {
        /* void */
    }

    if (i == TF_RAG_STEPS_MAX) {
        return;
    }

    if (i == steps->n) {
        steps->of[steps->n++].name = name;
    }

    sum = &steps->of[i].cost;
    sum->wall += now.wall - steps->last.wall;
    sum->own += now.own - steps->last.own;
    sum->store += now.store - steps->last.store;
    steps->last = now;
}


void
tf_rag_steps_free(tf_rag_steps_t *steps)
{
    if (steps->backend != 0 && steps->fd != -1) {
        (void) close(steps->fd);
    }

    steps->backend = 0;
    steps->fd = -1;
}
