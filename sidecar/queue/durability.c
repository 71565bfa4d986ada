#include "queue/durability.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static const char *const  tf_durability_words[TF_DURABILITY_NMODES] = {
    "fast", "durable", "replicated"
};


tf_durability_mode_t
tf_durability_mode(const char *word)
{
    int  i;

    for (i = 0; i < TF_DURABILITY_NMODES; i++) {
        if (strcmp(tf_durability_words[i], word) == 0) {
            break;
        }
    }

    return (tf_durability_mode_t) i;
}


int
tf_durability_strict(const tf_conf_t *conf)
{
    return strcmp(conf->durability_check, "warn") != 0;
}


static void
tf_durability_add(tf_durability_t *d, tf_durability_level_t level,
    const char *what, const char *found, const char *mend)
{
    tf_durability_finding_t  *finding;

    if (d->n == TF_DURABILITY_MAX) {
        return;
    }

    finding = &d->list[d->n++];
    finding->level = level;
    finding->what = what;
    finding->mend = mend;
    (void) snprintf(finding->found, sizeof(finding->found), "%s",
                    level == TF_DURABILITY_UNKNOWN ? "may not be read here"
                                                   : found);

    d->weak += level == TF_DURABILITY_WEAK;
}


/* A setting that has to be one of two words (the other may be NULL). */

static void
tf_durability_setting(tf_durability_t *d, const char *what,
    const char *found, const char *wanted, const char *other,
    const char *mend)
{
    tf_durability_level_t  level;

    level = TF_DURABILITY_WEAK;

    if (found[0] == '\0') {
        level = TF_DURABILITY_UNKNOWN;

    } else if (strcmp(found, wanted) == 0
               || (other != NULL && strcmp(found, other) == 0))
    {
        level = TF_DURABILITY_KEEPS;
    }

    tf_durability_add(d, level, what, found, mend);
}


void
tf_info_value(const char *info, const char *name, char *value, size_t size)
{
    size_t       len;
    const char  *p;

    value[0] = '\0';
    len = strlen(name);

    for (p = info; p != NULL && *p; p = strchr(p, '\n')) {
        p += *p == '\n';

        if (strncmp(p, name, len) == 0 && p[len] == ':') {
            p += len + 1;
            (void) snprintf(value, size, "%.*s", (int) strcspn(p, "\r\n"), p);
            return;
        }
    }
}


/* A parameter of Redis, "" when we may not see it; 0, or -1: no answer. */

static int
tf_durability_config(tf_redis_t *redis, const char *name, char *value,
    size_t size)
{
    redisReply  *reply;

    value[0] = '\0';

    reply = tf_redis_command(redis, 0, "CONFIG", "GET", name, NULL);
    if (reply == NULL) {
        return -1;
    }

    (void) snprintf(value, size, "%s", tf_reply_str(reply, 1));
    freeReplyObject(reply);

    return 0;
}


static redisReply *
tf_durability_info(tf_redis_t *redis, const char *section)
{
    redisReply  *reply;

    reply = tf_redis_command(redis, 0, "INFO", section, NULL);

    if (reply != NULL && reply->type != REDIS_REPLY_STRING) {
        (void) snprintf(redis->err, sizeof(redis->err), "Redis: %s",
                        reply->type == REDIS_REPLY_ERROR
                        ? reply->str : "unexpected reply to INFO");
        freeReplyObject(reply);
        return NULL;
    }

    return reply;
}


/* Replicas that are in step. */

static int
tf_durability_replicas(tf_durability_t *d, const tf_conf_t *conf,
    tf_redis_t *redis)
{
    int          i;
    char         name[24], value[256], found[64];
    unsigned     online;
    redisReply  *reply;

    reply = tf_durability_info(redis, "replication");
    if (reply == NULL) {
        return -1;
    }

    online = 0;

    for (i = 0; i < 64; i++) {
        (void) snprintf(name, sizeof(name), "slave%d", i);
        tf_info_value(reply->str, name, value, sizeof(value));

        if (strstr(value, "state=online") != NULL) {
            online++;
        }
    }

    freeReplyObject(reply);

    (void) snprintf(found, sizeof(found), "%u of %u are online", online,
                    (unsigned) conf->replicas);
    tf_durability_add(d, online < conf->replicas ? TF_DURABILITY_WEAK
                                                 : TF_DURABILITY_KEEPS,
                      "Redis replicas", found,
                      "bring the replicas back, or lower \"replicas\"");

    return 0;
}


int
tf_durability_redis(tf_durability_t *d, const tf_conf_t *conf,
    tf_redis_t *redis)
{
    char                   append[16], fsync[16], rewrite[16], policy[32];
    redisReply            *persistence, *memory;
    tf_durability_mode_t   mode;

    mode = tf_durability_mode(conf->durability);

    /* the configuration may be hidden; INFO tells some of it to everybody */

    persistence = tf_durability_info(redis, "persistence");
    memory = tf_durability_info(redis, "memory");

    if (persistence == NULL || memory == NULL
        || tf_durability_config(redis, "appendfsync", fsync, sizeof(fsync))
           != 0
        || tf_durability_config(redis, "no-appendfsync-on-rewrite", rewrite,
                                sizeof(rewrite))
           != 0)
    {
        freeReplyObject(persistence);
        freeReplyObject(memory);
        return -1;
    }

    tf_info_value(persistence->str, "aof_enabled", append, sizeof(append));
    tf_info_value(memory->str, "maxmemory_policy", policy, sizeof(policy));
    freeReplyObject(persistence);
    freeReplyObject(memory);

    tf_durability_setting(d, "Redis appendonly",
                          append[0] == '\0' ? ""
                          : strcmp(append, "1") == 0 ? "yes" : "no",
                          "yes", NULL,
                          "set \"appendonly yes\": without it every accepted "
                          "job is lost when Redis crashes");

    if (mode == TF_DURABILITY_FAST) {
        tf_durability_setting(d, "Redis appendfsync", fsync, "everysec",
                              "always",
                              "set \"appendfsync everysec\": otherwise a "
                              "power cut loses half a minute of accepted "
                              "jobs");

    } else {
        tf_durability_setting(d, "Redis appendfsync", fsync, "always", NULL,
                              "set \"appendfsync always\": otherwise a power "
                              "cut loses about a second of accepted jobs; or "
                              "\"durability = fast\", if that may be");

        tf_durability_setting(d, "Redis fsync on rewrite", rewrite, "no",
                              NULL,
                              "set \"no-appendfsync-on-rewrite no\": "
                              "otherwise nothing is synced while the file is "
                              "rewritten");
    }

    tf_durability_setting(d, "Redis maxmemory-policy", policy, "noeviction",
                          NULL,
                          "set \"maxmemory-policy noeviction\": otherwise a "
                          "full Redis throws jobs away");

    if (mode == TF_DURABILITY_REPLICATED) {
        return tf_durability_replicas(d, conf, redis);
    }

    return 0;
}


int
tf_durability_pg(tf_durability_t *d, tf_pg_t *pg)
{
    unsigned   i;
    PGresult  *res;

    static const struct {
        const char  *what;
        const char  *bad;
        const char  *mend;
    } settings[] = {
        { "PostgreSQL fsync", "off",
          "set \"fsync = on\": a power cut destroys the database" },
        { "PostgreSQL full_page_writes", "off",
          "set \"full_page_writes = on\": a power cut can destroy the "
          "database" },
        { "PostgreSQL synchronous_commit", "off",
          "set \"synchronous_commit = on\", for the role trifecta_queue, "
          "too: a power cut loses stored answers" }
    };

    if (tf_pg_query(pg, &res, 0, "SELECT current_setting('fsync'), "
                    "current_setting('full_page_writes'), "
                    "current_setting('synchronous_commit')", 0, NULL)
        != TF_PG_OK)
    {
        return -1;
    }

    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        tf_durability_add(d, strcmp(PQgetvalue(res, 0, (int) i),
                                    settings[i].bad) == 0
                             ? TF_DURABILITY_WEAK : TF_DURABILITY_KEEPS,
                          settings[i].what, PQgetvalue(res, 0, (int) i),
                          settings[i].mend);
    }

    PQclear(res);

    return 0;
}


void
tf_durability_say(const tf_durability_t *d, const tf_conf_t *conf,
    char *text, size_t size)
{
    size_t    n;
    unsigned  i;

    n = (size_t) snprintf(text, size, "the stores keep less than "
                          "\"durability = %s\" promises", conf->durability);

    for (i = 0; i < d->n && n < size; i++) {
        if (d->list[i].level == TF_DURABILITY_WEAK) {
            n += (size_t) snprintf(text + n, size - n, "; %s is %s: %s",
                                   d->list[i].what, d->list[i].found,
                                   d->list[i].mend);
        }
    }
}
