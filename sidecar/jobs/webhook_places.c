#include "jobs/webhook.h"

#include <stdio.h>
#include <string.h>


static int
tf_webhook_may(const tf_webhooks_t *hooks, const char *tenant,
    const char *server, int *place)
{
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

    return empty > 0 && there < (hooks->places + 1) / 2 && theirs < empty;
}


int
tf_webhook_place(tf_webhooks_t *hooks, const char *tenant, const char *server)
{
    int  place;

    (void) pthread_mutex_lock(&hooks->mutex);

    if (tf_webhook_may(hooks, tenant, server, &place)) {
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
