#ifndef TF_QUEUE_REDIS_URL_H
#define TF_QUEUE_REDIS_URL_H


#include <stddef.h>

#include <trifecta/keys.h>


/*
 * Where the shards of the queue are.
 *
 * redis_url is a list, one URL a shard, separated by blanks; shard i is the
 * i-th of them.  The same URL twice is two shards on one server.  A URL is
 *
 *   redis://[user@]host[:port]
 *   sentinel://[user@]host[:port],host[:port].../master
 *
 * the second one naming the sentinels that know which server is the master
 * at the moment.  The user is the one of the Redis servers.  A password is
 * never part of it: passwords are in files.
 */

#define TF_REDIS_SENTINELS_MAX  8

typedef struct {
    char  host[256];
    int   port;
} tf_redis_host_t;

typedef struct {
    char             user[128];
    char             master[128];   /* "": redis:// */
    tf_redis_host_t  hosts[TF_REDIS_SENTINELS_MAX];
    unsigned         nhosts;
} tf_redis_url_t;

typedef struct {
    const char  *url[TF_SHARDS_MAX];
    unsigned     n;
    char        *text;
} tf_redis_urls_t;


/* 0, or -1 when it is none. */
int tf_redis_url_parse(tf_redis_url_t *u, const char *url);

/* The list, each URL checked: 0, or -1 with a message in err. */
int tf_redis_urls(tf_redis_urls_t *urls, const char *list, char *err,
    size_t errlen);
void tf_redis_urls_free(tf_redis_urls_t *urls);


#endif /* TF_QUEUE_REDIS_URL_H */
