#include "cli/epoch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/installation.h"
#include "queue/keeper.h"
#include "queue/library.h"
#include "queue/redis_url.h"


#define TF_EPOCH_TRIES  3           /* unless somebody else is at work */
#define TF_EPOCH_PAUSE  250         /* ms */

typedef struct {
    tf_epoch_t        *e;
    const tf_cli_t    *cli;
    tf_keeper_t       *k;
    const char        *library;
    unsigned           nshards;
    tf_keeper_stats_t  stats;
} tf_epoch_shard_t;


static void
tf_epoch_say(void *data, tf_log_level_t level, const char *text)
{
    tf_epoch_shard_t  *s = data;

    if (level == TF_LOG_ERROR) {
        (void) fprintf(stderr, "shard %u: %s\n", s->k->shard, text);
        return;
    }

    if (s->nshards > 1) {
        (void) printf("shard %u: ", s->k->shard);
    }

    (void) printf("%s\n", text);
    (void) fflush(stdout);
}


static int
tf_epoch_failed(tf_epoch_shard_t *s, const char *why)
{
    (void) tf_cli_error(s->cli, "shard %u: %s", s->k->shard, why);

    return -1;
}


static int
tf_epoch_library(tf_epoch_shard_t *s)
{
    tf_library_t  found;

    found = tf_library_look(&s->k->redis, s->library);

    if (found == TF_LIBRARY_FAILED) {
        return tf_epoch_failed(s, s->k->redis.err);
    }

    if (found == TF_LIBRARY_SAME) {
        return 0;
    }

    s->e->changed = 1;

    if (s->e->dry_run) {
        tf_epoch_say(s, TF_LOG_INFO, "would load the Redis function library "
                     TF_LIBRARY);
        return 0;
    }

    if (tf_library_load(&s->k->redis, s->library) != 0) {
        return tf_epoch_failed(s, s->k->redis.err);
    }

    tf_epoch_say(s, TF_LOG_INFO, "loaded the Redis function library "
                 TF_LIBRARY);

    return 0;
}


/*
 * Whether this Redis may be touched.  PostgreSQL does not say, in a dry run,
 * before its schema is there.
 */

static int
tf_epoch_look(tf_epoch_shard_t *s, tf_look_verdict_t *verdict,
    const char **why)
{
    int           known;
    char          text[512];
    tf_look_t    *look;
    tf_keeper_t  *k;

    k = s->k;
    look = &k->look;

    if (tf_look_redis(look, &k->redis, k->prefix) != 0) {
        (void) snprintf(text, sizeof(text), "%.400s\nPostgreSQL is prepared; "
                        "run migrate again when Redis answers.",
                        k->redis.err);
        return tf_epoch_failed(s, text);
    }

    known = tf_look_pg(look, &k->pg, k->shard) == 0;

    if (!known && !s->e->dry_run) {
        return tf_epoch_failed(s, k->pg.err);
    }

    if (!known && look->epoch) {
        *verdict = TF_LOOK_WHOLE;
        return 0;
    }

    *verdict = tf_look_verdict(look, why);

    if (known && *verdict == TF_LOOK_FOREIGN) {
        (void) snprintf(text, sizeof(text), "%s (%s; ours is %s): it is left "
                        "alone.\nCorrect redis_url, or use another database "
                        "of PostgreSQL or an empty Redis.", *why,
                        look->install, look->pg_install);
        return tf_epoch_failed(s, text);
    }

    return 0;
}


static int
tf_epoch_adopt(tf_epoch_shard_t *s)
{
    int           tries;
    int64_t       end;
    tf_keeper_t  *k;

    k = s->k;
    end = tf_clock_ms() + s->e->wait;

    for (tries = 1; ; tries++) {

        switch (tf_keeper_tick(k)) {

        case TF_KEEPER_ADOPTED:
            s->e->changed |= atomic_load(&s->stats.rebuilds) > 0;
            return 0;

        case TF_KEEPER_BUSY:
            tries = 0;
            break;

        case TF_KEEPER_REFUSES:
            return tf_epoch_failed(s, k->why);

        default: /* TF_KEEPER_WAITS */
            break;
        }

        if (tries == TF_EPOCH_TRIES || tf_clock_ms() >= end) {
            return tf_epoch_failed(s, k->why);
        }

        tf_keeper_sleep(k, TF_EPOCH_PAUSE);
    }
}


static int
tf_epoch_shard(tf_epoch_shard_t *s)
{
    char                text[256];
    const char         *why;
    tf_look_verdict_t   verdict;

    if (tf_epoch_look(s, &verdict, &why) != 0 || tf_epoch_library(s) != 0) {
        return -1;
    }

    if (!s->e->dry_run) {
        return tf_epoch_adopt(s);
    }

    if (verdict == TF_LOOK_REBUILD) {
        s->e->changed = 1;
        (void) snprintf(text, sizeof(text), "would start epoch %lld of the "
                        "queue: %s", (long long)
                        (s->k->look.epoch > s->k->look.pg_epoch
                         ? s->k->look.epoch : s->k->look.pg_epoch) + 1, why);
        tf_epoch_say(s, TF_LOG_INFO, text);
    }

    return 0;
}


int
tf_epoch_migrate(tf_epoch_t *e, const tf_cli_t *cli, const tf_conf_t *conf,
    tf_pg_t *admin)
{
    int                rc;
    char               err[512];
    char              *library;
    unsigned           i;
    tf_keeper_t       *k;
    tf_redis_urls_t    urls;
    tf_epoch_shard_t   s;

    library = tf_library_read(conf, err, sizeof(err));
    if (library == NULL) {
        return tf_cli_error(cli, "%s", err), -1;
    }

    if (tf_redis_urls(&urls, conf->redis_url, err, sizeof(err)) != 0) {
        free(library);
        return tf_cli_error(cli, "%s", err), -1;
    }

    rc = tf_installation_mend(e, cli, conf, admin, &urls);

    k = (rc == 0) ? malloc(sizeof(tf_keeper_t)) : NULL;

    if (rc == 0 && k == NULL) {
        (void) tf_cli_error(cli, "out of memory");
        rc = -1;
    }

    /* one that fails does not keep the others from their queue */

    for (i = 0; k != NULL && i < urls.n; i++) {
        memset(&s, 0, sizeof(s));
        s.e = e;
        s.cli = cli;
        s.k = k;
        s.library = library;
        s.nshards = urls.n;

        tf_keeper_init(k, conf, &urls, i, &s.stats);
        k->say = tf_epoch_say;
        k->data = &s;

        if (tf_epoch_shard(&s) != 0) {
            rc = -1;
        }

        tf_keeper_free(k);
    }

    free(k);
    free(library);
    tf_redis_urls_free(&urls);

    return rc;
}
