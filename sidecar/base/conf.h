#ifndef TF_BASE_CONF_H
#define TF_BASE_CONF_H


#include <stdio.h>

#include "base/keys.h"


/*
 * The configuration: one table of keys.
 *
 * A value comes from, weakest first: the default of the table, the file
 * (--config FILE, else $TRIFECTA_CONF, else /etc/trifecta/sidecar.conf if it
 * is there), the environment (TRIFECTA_<KEY IN CAPITALS>).  The file has
 * lines "key = value"; "#" starts a comment at the start of a line or after
 * white space.  An unknown key, a key twice or a value that does not parse
 * is an error that names file and line: nothing starts with half a
 * configuration.
 *
 * Secrets are never values here: a "..._file" key names the file they are in.
 *
 * X(type, key, default, what it means)
 * Types: STR, MS (time: "500ms", "30s", "5m", "30d"; kept in ms),
 * NUM (unsigned integer), REAL (0 and more), BOOL (on, off).
 */

#define TF_CONF_KEYS(X)                                                       \
    X(STR,  redis_url,              "redis://127.0.0.1:6379",                 \
      "Redis, one URL a shard: redis://[user@]host:port or "                  \
      "sentinel://[user@]host:port,host:port/master")                         \
    X(STR,  redis_password_file,    "",                                       \
      "file with the password of Redis; empty: none")                         \
    X(STR,  redis_sentinel_password_file, "",                                 \
      "file with the password of the sentinels; empty: none")                 \
    X(STR,  pg_url,                 "postgresql://127.0.0.1:5432/trifecta",   \
      "PostgreSQL: a libpq URI without user and password")                    \
    X(STR,  pg_queue_user,          "trifecta_queue",                         \
      "role that runs the queue")                                             \
    X(STR,  pg_queue_password_file, "",                                       \
      "file with its password; empty: none is sent")                          \
    X(STR,  pg_rag_user,            "trifecta_rag",                           \
      "role that reads and writes documents, under row-level security")       \
    X(STR,  pg_rag_password_file,   "",                                       \
      "file with its password")                                               \
    X(STR,  pg_edge_user,           "trifecta_edge",                          \
      "role of the nginx module; migrate creates it")                         \
    X(STR,  pg_edge_password_file,  "",                                       \
      "file with its password")                                               \
    X(STR,  pg_owner_user,          "trifecta_owner",                         \
      "role that owns the schema; nobody logs in as it")                      \
    X(STR,  pg_admin_url,           "",                                       \
      "what migrate connects to, with its user; empty: pg_url")               \
    X(STR,  pg_admin_password_file, "",                                       \
      "file with the password of that user")                                  \
    X(STR,  migrations,             "/usr/share/trifecta/migrations",         \
      "folder of V*__*.sql and redis/")                                       \
    X(STR,  id_key_file,            "",                                       \
      "file with the key of job ids, the same that nginx reads")              \
    X(STR,  jwt_key_file,           "",                                       \
      "file with the HS256 secret that \"trifecta token\" signs with")        \
    X(STR,  jwt_issuer,             "trifecta",                               \
      "iss of those tokens")                                                  \
    X(STR,  jwt_audience,           "trifecta",                               \
      "aud of those tokens")                                                  \
    X(STR,  tenant,                 "default",                                \
      "tenant of tokens and ingested documents, unless told otherwise")       \
    X(NUM,  threads,                "32",                                     \
      "jobs that run at the same time in one process (1..1024)")              \
    X(NUM,  background,             "0",                                      \
      "of these, work without hurry at most; 0: see the manual")              \
    X(NUM,  pg_connections,         "8",                                      \
      "for documents and answers, which wait for one (1..256)")               \
    X(NUM,  batch_open,             "64",                                     \
      "requests of one batch that are jobs at the same time (1..1000)")       \
    X(STR,  worker,                 "",                                       \
      "name of this process in the queue; empty: host, pid and random")       \
    X(MS,   lease,                  "30s",                                    \
      "how long a claimed job survives without a heartbeat")                  \
    X(MS,   heartbeat,              "10s",                                    \
      "time between heartbeats; at most a third of the lease")                \
    X(MS,   reconcile,              "30s",                                    \
      "how often the stores are compared, job by job")                        \
    X(STR,  durability,             "durable",                                \
      "what Redis must keep: fast, durable or replicated")                    \
    X(NUM,  replicas,               "1",                                      \
      "of Redis, with durability = replicated")                               \
    X(STR,  durability_check,       "strict",                                 \
      "strict: weaker stores accept nothing; warn: it is only logged")        \
    X(MS,   drain_timeout,          "30s",                                    \
      "after SIGTERM: how long running jobs may go on")                       \
    X(MS,   retention,              "30d",                                    \
      "how long jobs that have ended are kept; 0: for ever")                  \
    X(MS,   stuck_after,            "60s",                                    \
      "/livez fails when a thread makes no progress for so long")             \
    X(STR,  listen,                 "127.0.0.1:9901",                         \
      "address of /livez, /readyz and /metrics; empty: none")                 \
    X(STR,  log_level,              "info",                                   \
      "error, warn, info or debug")                                           \
    X(STR,  language,               "english",                                \
      "text search configuration of new collections")                         \
    X(STR,  ingest_limits,          "",                                       \
      "limits of ingested files: name=value,... (documents.md)")              \
    X(NUM,  index_memory,           "268435456",                              \
      "bytes for search indexes in memory; 0: none")                          \
    X(NUM,  index_from,             "10000",                                  \
      "passages that a collection must have to get one")                      \
    X(NUM,  index_check,            "1000",                                   \
      "of so many searches in them one is compared; 0: none")                 \
    X(REAL, answer_threshold,       "0.5",                                    \
      "how sure it must be that a passage answers (0..1)")      \
    X(REAL, weight_bm25,            "1",                                      \
      "of the words of a passage when passages are ranked")                   \
    X(REAL, weight_ngrams,          "0.2",                                    \
      "of letters in a row, which forgive typing errors; 0: not used")        \
    X(REAL, weight_vectors,         "1",                                      \
      "of the vectors of a live embedding set; 0: not used")                  \
    X(REAL, weight_spelling,        "0.8",                                    \
      "of a word that means another, which it is nearly; 0: none does")       \
    X(REAL, feedback,               "0.6",                                    \
      "words of the best passages are looked for, too, if these cover less "  \
      "of the question; 0: never")                                            \
    X(NUM,  ngrams_scan,            "20000",                                  \
      "chunks of collections, at most, that are all compared by them")        \
    X(STR,  models,                 "",                                       \
      "file that says which models answer; empty: only \"extractive\"")       \
    X(NUM,  answer_cache,           "200",                                    \
      "answers of one user that are given again to the same question; "       \
      "0: none (models.md)")                                                  \
    X(STR,  webhook_key_file,       "",                                       \
      "file with the key that webhooks are signed with; empty: none is sent") \
    X(STR,  webhook_ca,             "",                                       \
      "CA file for the servers that receive webhooks; empty: the system's")   \
    X(STR,  webhook_networks,       "",                                       \
      "networks that webhooks may reach though they are not public: "         \
      "10.1.0.0/16,fd00::/8")                                                 \
    X(MS,   webhook_timeout,        "15s",                                    \
      "how long a receiver may take")                                         \
    X(MS,   webhook_wait,           "5s",                                     \
      "before the second try; doubles with each, up to 6h, at random below")  \
    X(MS,   webhook_for,            "72h",                                    \
      "how long a webhook is tried, at most 72h")                             \
    X(NUM,  webhook_backlog,        "500",                                    \
      "webhooks of one tenant that may wait for their next try")              \
    X(STR,  url,                    "https://localhost",                      \
      "where \"trifecta ask\" finds nginx")                                   \
    X(STR,  ca,                     "",                                       \
      "CA file for that; empty: the system's")                                \
    X(STR,  token,                  "",                                       \
      "bearer token for that (better in TRIFECTA_TOKEN)")

typedef struct {
#define TF_CONF_FIELD(type, key, def, what)  tf_key_##type  key;
    TF_CONF_KEYS(TF_CONF_FIELD)
#undef TF_CONF_FIELD
} tf_conf_t;


/*
 * Loads the configuration; file NULL means the default places.  Returns 0,
 * or -1 with a message in err.  tf_conf_free() frees the strings.
 */
int tf_conf_load(tf_conf_t *conf, const char *file, char *err, size_t errlen);
void tf_conf_free(tf_conf_t *conf);

/* Sets one key to "name=value"; -1 with a message in err. */
int tf_conf_set(tf_conf_t *conf, const char *setting, char *err,
    size_t errlen);

/* Prints the table as a commented configuration file (conf/sidecar.conf). */
void tf_conf_print(FILE *out);


#endif /* TF_BASE_CONF_H */
