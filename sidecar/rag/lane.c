#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "rag/group.h"


/*
 * Lanes: connections of a group that write at the same time, as several
 * ingests do.  Each has a thread while it has something to write, and a
 * lexicon of its own.  Work is given to them in turn, and the oldest is
 * waited for first, so that what became of documents is told in their order.
 */

struct tf_rag_lane_s {
    tf_rag_group_t  group;      /* the items, moved out of their group */
    tf_pg_t         pg;
    pthread_t       thread;
    int             busy;
    int             joined;     /* no thread could be made */
};

static void tf_rag_lanes_open(tf_rag_group_t *group);
static int tf_rag_lane_wait(tf_rag_group_t *group, tf_rag_lane_t *lane);
static void *tf_rag_lane_run(void *arg);


/* As many as there are connections; none if there is not even a second. */

static void
tf_rag_lanes_open(tf_rag_group_t *group)
{
    size_t          n;
    tf_rag_lane_t  *lane;

    n = group->target->connections;
    group->nlanes = 0;
    group->opened = 1;

    if (n < 2) {
        return;
    }

    group->lanes = calloc(n, sizeof(tf_rag_lane_t));
    if (group->lanes == NULL) {
        return;
    }

    for ( /* void */ ; group->nlanes < n; group->nlanes++) {
        lane = &group->lanes[group->nlanes];

        tf_pg_init(&lane->pg, group->pg->conf, group->pg->role);
        lane->group.pg = &lane->pg;
        lane->group.target = group->target;
        lane->group.items = calloc(TF_GROUP_DOCUMENTS, sizeof(tf_rag_item_t));

        if (lane->group.items == NULL
            || tf_pg_connect(&lane->pg) != TF_PG_OK)
        {
            free(lane->group.items);
            break;
        }
    }
}


static void *
tf_rag_lane_run(void *arg)
{
    tf_rag_lane_t  *lane = arg;

    (void) tf_rag_store(&lane->group, 0, lane->group.n);

    return NULL;
}


/* 0, or -1 if a document of it could not be written. */

static int
tf_rag_lane_wait(tf_rag_group_t *group, tf_rag_lane_t *lane)
{
    int  rc;

    if (!lane->busy) {
        return 0;
    }

    if (!lane->joined) {
        (void) pthread_join(lane->thread, NULL);
    }

    lane->busy = 0;
    lane->group.done = group->done;
    lane->group.ctx = group->ctx;

    rc = tf_rag_group_tell(&lane->group, 0, lane->group.n);
    tf_rag_group_reset(&lane->group);

    return rc;
}


int
tf_rag_lanes_wait(tf_rag_group_t *group)
{
    int     rc;
    size_t  i;

    for (i = 0, rc = 0; i < group->nlanes; i++) {
        if (tf_rag_lane_wait(group, &group->lanes[(group->turn + i)
                                                  % group->nlanes])
            != 0)
        {
            rc = -1;
        }
    }

    return rc;
}


int
tf_rag_lanes_write(tf_rag_group_t *group, size_t first, size_t last,
    int final)
{
    size_t          i;
    tf_rag_lane_t  *lane;

    for (i = 0; i < group->nlanes && !group->lanes[i].busy; i++) {
        /* void */
    }

    if (!group->opened && !final) {
        tf_rag_lanes_open(group);
        i = group->nlanes;
    }

    if (group->nlanes == 0 || (final && i == group->nlanes)) {
        (void) tf_rag_store(group, first, last);
        return tf_rag_group_tell(group, first, last);
    }

    lane = &group->lanes[group->turn];

    if (tf_rag_lane_wait(group, lane) != 0) {
        (void) tf_rag_lanes_wait(group);
        return -1;
    }

    group->turn = (group->turn + 1) % group->nlanes;

    for (i = first; i < last; i++) {
        lane->group.items[lane->group.n++] = group->items[i];
        memset(&group->items[i], 0, sizeof(tf_rag_item_t));
    }

    lane->busy = 1;
    lane->joined = tf_thread_start(&lane->thread, "tf-ingest",
                                   tf_rag_lane_run, lane)
                   != 0;

    if (lane->joined) {
        (void) tf_rag_lane_run(lane);
    }

    return 0;
}


/* The thread of a lane may write its items, but not their names. */

int
tf_rag_lanes_have(const tf_rag_group_t *group, const char *source)
{
    size_t                 i, k;
    const tf_rag_group_t  *inner;

    for (i = 0; i < group->nlanes; i++) {
        inner = &group->lanes[i].group;

        for (k = 0; k < inner->n; k++) {
            if (strcmp(inner->items[k].source, source) == 0) {
                return 1;
            }
        }
    }

    return 0;
}


void
tf_rag_lanes_close(tf_rag_group_t *group)
{
    size_t          i;
    tf_rag_lane_t  *lane;

    (void) tf_rag_lanes_wait(group);

    for (i = 0; i < group->nlanes; i++) {
        lane = &group->lanes[i];

        tf_rag_index_free(&lane->group.index);
        free(lane->group.items);
        tf_pg_close(&lane->pg);
    }

    free(group->lanes);
    group->lanes = NULL;
    group->nlanes = 0;
}
