#include <pthread.h>
#include <stdlib.h>

#include "net/stream_own.h"


/* Clients that are kept: as many as may be in use at the same time. */

#define TF_STREAM_IDLE_MAX  1024

struct tf_stream_pool_s {
    pthread_mutex_t      mutex;
    tf_stream_client_t  *idle;
    unsigned             nidle;
};


tf_stream_pool_t *
tf_stream_pool_create(void)
{
    tf_stream_pool_t  *pool;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return NULL;
    }

    pool = calloc(1, sizeof(tf_stream_pool_t));
    if (pool == NULL) {
        curl_global_cleanup();
        return NULL;
    }

    (void) pthread_mutex_init(&pool->mutex, NULL);

    return pool;
}


static void
tf_stream_client_free(tf_stream_client_t *client)
{
    curl_easy_cleanup(client->easy);
    (void) curl_multi_cleanup(client->multi);
    free(client);
}


void
tf_stream_pool_destroy(tf_stream_pool_t *pool)
{
    tf_stream_client_t  *client;

    if (pool == NULL) {
        return;
    }

    while (pool->idle != NULL) {
        client = pool->idle;
        pool->idle = client->next;
        tf_stream_client_free(client);
    }

    (void) pthread_mutex_destroy(&pool->mutex);
    free(pool);
    curl_global_cleanup();
}


tf_stream_client_t *
tf_stream_client_get(tf_stream_pool_t *pool)
{
    tf_stream_client_t  *client;

    (void) pthread_mutex_lock(&pool->mutex);

    client = pool->idle;
    if (client != NULL) {
        pool->idle = client->next;
        pool->nidle--;
    }

    (void) pthread_mutex_unlock(&pool->mutex);

    if (client != NULL) {
        return client;
    }

    client = calloc(1, sizeof(tf_stream_client_t));
    if (client == NULL) {
        return NULL;
    }

    client->multi = curl_multi_init();
    client->easy = curl_easy_init();

    if (client->multi == NULL || client->easy == NULL) {
        tf_stream_client_free(client);
        return NULL;
    }

    return client;
}


void
tf_stream_client_put(tf_stream_pool_t *pool, tf_stream_client_t *client)
{
    /* headers with a key, pointers into a call that is over */

    curl_easy_reset(client->easy);

    (void) pthread_mutex_lock(&pool->mutex);

    if (pool->nidle < TF_STREAM_IDLE_MAX) {
        client->next = pool->idle;
        pool->idle = client;
        pool->nidle++;
        client = NULL;
    }

    (void) pthread_mutex_unlock(&pool->mutex);

    if (client != NULL) {
        tf_stream_client_free(client);
    }
}
