#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


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


void
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
