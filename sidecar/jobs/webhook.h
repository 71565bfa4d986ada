#ifndef TF_JOBS_WEBHOOK_H
#define TF_JOBS_WEBHOOK_H


#include <pthread.h>
#include <stdatomic.h>

#include <trifecta/job.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/hist.h"
#include "db/pg.h"
#include "net/networks.h"
#include "net/stream.h"


/*
 * Webhooks: the end of a job, told to the URL that its request named, as
 * Standard Webhooks (standardwebhooks.com) has it.
 *
 * A delivery is a job of its own (queue/born.h), so it is made at least once
 * and by whoever is there: an attempt reads the job's row as it is then,
 * makes the body of it, signs and posts it.  2xx is the end; 410 is one, too;
 * everything else is tried again, with the waits of its kind, until
 * webhook_for is over.  A job that its owner has deleted is not told.
 *
 * The key file has one key a line, at most two, the current one first.  The
 * secret of a tenant is HMAC-SHA256(key, "trifecta webhook" 0 tenant), so that
 * whoever can verify its own webhooks can make no other's; the signature is
 * made with each of them, so that receivers change theirs in their own time.
 * The file is read for each delivery: a rotation needs no restart.
 *
 * Where a name leads is asked when it is connected to: only to addresses of
 * the internet, and to webhook_networks.
 *
 * At most half of the threads deliver at the same time, and half of those to
 * one server: a delivery that finds no place is put off for a moment.  So
 * servers that hang cost no answer its thread, and one of them not the
 * others' deliveries.  Where more than one tenant has delivered within the
 * last hour none gets more places than are empty, nor one server more than a
 * quarter: so whoever has none finds one, however many servers the others
 * name.
 */

#define TF_WEBHOOK_SECRET_LEN   32
#define TF_WEBHOOK_SECRET_TEXT  64      /* whsec_ and base64, with its NUL */
#define TF_WEBHOOK_KEYS         2
#define TF_WEBHOOK_PLACES_MAX   128
#define TF_WEBHOOK_SERVER_MAX   272     /* host:port */
#define TF_WEBHOOK_ALONE_MS     3600000 /* then a tenant is the only one */

/* Since the start: X(name, what it counts) */

#define TF_WEBHOOK_COUNTERS(X)                                                \
    X(delivered, "webhooks that their receiver took")                         \
    X(failed,    "tries that failed")                                         \
    X(given_up,  "webhooks that are tried no more")                           \
    X(refused,   "connections to addresses that are not public")              \
    X(put_off,   "deliveries that waited for a place")

typedef struct {
    char  server[TF_WEBHOOK_SERVER_MAX];    /* "": the place is empty */
    char  tenant[TF_TENANT_MAX + 1];
} tf_webhook_at_t;

typedef struct {
    char     tenant[TF_TENANT_MAX + 1];
    int64_t  at;                            /* when it last asked */
} tf_webhook_seen_t;

typedef struct {
    const tf_conf_t   *conf;
    tf_networks_t      networks;
    tf_pg_pool_t      *pg;              /* role trifecta_queue */
    tf_stream_pool_t  *net;

    pthread_mutex_t    mutex;
    unsigned           places;          /* that there are */
    unsigned           taken;
    tf_webhook_at_t    at[TF_WEBHOOK_PLACES_MAX];
    tf_webhook_seen_t  seen[2];         /* the last, and the last other one */

#define TF_WEBHOOK_COUNTER_FIELD(name, what)  atomic_ulong  name;
    TF_WEBHOOK_COUNTERS(TF_WEBHOOK_COUNTER_FIELD)
#undef TF_WEBHOOK_COUNTER_FIELD
    tf_hist_t          latency;         /* from the end to the receipt */
} tf_webhooks_t;


/* webhooks.c: what all deliveries of this process share. */

/* NULL with a message in err. */
tf_webhooks_t *tf_webhooks_create(const tf_conf_t *conf, char *err,
    size_t errlen);
void tf_webhooks_destroy(tf_webhooks_t *hooks);


/* webhook_places.c */

/* A place for a tenant's delivery to that server: which one, or -1. */
int tf_webhook_place(tf_webhooks_t *hooks, const char *tenant,
    const char *server, int64_t now);
void tf_webhook_leave(tf_webhooks_t *hooks, int place);


/* webhook_sign.c: the secrets of a tenant, from the key file. */

typedef struct {
    unsigned char  secret[TF_WEBHOOK_KEYS][TF_WEBHOOK_SECRET_LEN];
    unsigned       n;
} tf_webhook_secrets_t;

/* 0, or -1 with a message in err.  Cleanse it. */
int tf_webhook_secrets(tf_webhook_secrets_t *secrets, const char *file,
    const char *tenant, char *err, size_t errlen);

/* "whsec_..." */
void tf_webhook_secret_text(const unsigned char *secret,
    char text[TF_WEBHOOK_SECRET_TEXT]);

/* "v1,... v1,..." is appended; 0 or -1 */
int tf_webhook_sign(const tf_webhook_secrets_t *secrets, const char *id,
    const char *timestamp, const tf_buf_t *body, tf_buf_t *out);


/* webhook_event.c: a job's row, and what is told of it. */

typedef struct {
    PGresult    *res;
    const char  *url;               /* NULL: none is wanted any more */
    int64_t      age;               /* ms since it ended */
} tf_webhook_row_t;

tf_pg_status_t tf_webhook_row(tf_pg_t *pg, const char *tenant,
    const char *owner, const char *job, tf_webhook_row_t *row);

/* The id of the message: the same for every try.  text has 48 bytes. */
void tf_webhook_id(const char *job, char *text);

/* The body; out->failed when memory is short. */
void tf_webhook_event(const tf_webhook_row_t *row, tf_buf_t *out);


#endif /* TF_JOBS_WEBHOOK_H */
