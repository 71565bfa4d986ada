#include "jobs/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


tf_webhooks_t *
tf_webhooks_create(const tf_conf_t *conf, char *err, size_t errlen)
{
    unsigned        connections;
    tf_webhooks_t  *hooks;

    hooks = calloc(1, sizeof(tf_webhooks_t));

    if (hooks == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        return NULL;
    }

    (void) pthread_mutex_init(&hooks->mutex, NULL);
    hooks->conf = conf;
    hooks->places = (unsigned) (conf->threads + 1) / 2;

    if (hooks->places > TF_WEBHOOK_PLACES_MAX) {
        hooks->places = TF_WEBHOOK_PLACES_MAX;
    }

    if (tf_networks_parse(&hooks->networks, conf->webhook_networks, err,
                          errlen)
        != 0)
    {
        tf_webhooks_destroy(hooks);
        return NULL;
    }

    /* held to read one row */

    connections = (unsigned) (conf->pg_connections + 1) / 2;
    hooks->pg = tf_pg_pool_create(conf, TF_PG_QUEUE,
                                  connections < hooks->places
                                  ? connections : hooks->places);
    hooks->net = tf_stream_pool_create();

    if (hooks->pg == NULL || hooks->net == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        tf_webhooks_destroy(hooks);
        return NULL;
    }

    return hooks;
}


void
tf_webhooks_destroy(tf_webhooks_t *hooks)
{
    if (hooks->pg != NULL) {
        tf_pg_pool_destroy(hooks->pg);
    }

    tf_stream_pool_destroy(hooks->net);
    (void) pthread_mutex_destroy(&hooks->mutex);
    free(hooks);
}
