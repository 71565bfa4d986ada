#include "jobs/webhook.h"

#include <stdio.h>
#include <string.h>


/* Whether another tenant has delivered lately; this one does so now. */

static int
tf_webhook_others(tf_webhooks_t *hooks, const char *tenant, int64_t now)
{
    tf_webhook_seen_t  *seen;

    seen = hooks->seen;

    if (strcmp(seen[0].tenant, tenant) != 0) {
        seen[1] = seen[0];
        (void) snprintf(seen[0].tenant, sizeof(seen[0].tenant), "%s", tenant);
    }

    seen[0].at = now;

    return seen[1].tenant[0] != '\0'
           && now - seen[1].at < TF_WEBHOOK_ALONE_MS;
}


static int
tf_webhook_may(tf_webhooks_t *hooks, const char *tenant, const char *server,
    int64_t now, int *place)
{
    int       others;
    unsigned  i, there, theirs, empty;

    there = 0;
    theirs = 0;
    empty = 0;

    for (i = 0; i < hooks->places; i++) {
        if (hooks->at[i].server[0] == '\0') {
            *place = (int) i;
            empty++;
            continue;
        }

        there += strcmp(hooks->at[i].server, server) == 0;
        theirs += strcmp(hooks->at[i].tenant, tenant) == 0;
    }

    others = tf_webhook_others(hooks, tenant, now);

    if (others) {
        return theirs < empty && there < (hooks->places + 3) / 4;
    }

    return empty > 0 && there < (hooks->places + 1) / 2;
}


int
tf_webhook_place(tf_webhooks_t *hooks, const char *tenant, const char *server,
    int64_t now)
{
    int  place;

    place = -1;

    (void) pthread_mutex_lock(&hooks->mutex);

    if (tf_webhook_may(hooks, tenant, server, now, &place)) {
        (void) snprintf(hooks->at[place].server, TF_WEBHOOK_SERVER_MAX, "%s",
                        server);
        (void) snprintf(hooks->at[place].tenant, TF_TENANT_MAX + 1, "%s",
                        tenant);
        hooks->taken++;

    } else {
        place = -1;
    }

    (void) pthread_mutex_unlock(&hooks->mutex);

    return place;
}


void
tf_webhook_leave(tf_webhooks_t *hooks, int place)
{
    (void) pthread_mutex_lock(&hooks->mutex);
    hooks->at[place].server[0] = '\0';
    hooks->taken--;
    (void) pthread_mutex_unlock(&hooks->mutex);
}
