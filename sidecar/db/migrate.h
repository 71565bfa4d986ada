#ifndef TF_DB_MIGRATE_H
#define TF_DB_MIGRATE_H


#include <stddef.h>
#include <stdint.h>

#include "db/pg.h"


/*
 * Migrations: files V<n>__<what>.sql, applied once each, in order.
 *
 * Names, history table and checksums are Flyway's, so Flyway itself can run
 * the same folder on the same database.  Two rules are narrower than its:
 * versions are whole numbers without gaps (the programs compare them as
 * such), and nothing but V files is accepted.
 *
 * tf_migrations_read() reads the folder.  tf_migrate_plan() holds it against
 * the history: every applied file must still be there, unchanged.  Neither
 * needs a database.  The rest works on a connection that has taken the role
 * of the schema's owner.
 */

#define TF_MIGRATE_ERR  1024            /* bytes of a message */
#define TF_MIGRATE_MS   86400000        /* deadline of one file: a large table
                                         * may be written anew */

typedef struct {
    long      version;
    int32_t   checksum;
    char     *script;                   /* "V1__jobs.sql" */
    char     *description;              /* "jobs" */
    char     *sql;
    size_t    len;
} tf_migration_t;

typedef struct {
    tf_migration_t  *list;              /* sorted by version */
    size_t           n;
} tf_migrations_t;

/* A row of the history table; those without a version are left out. */

typedef struct {
    long      version;
    int32_t   checksum;
    int       has_checksum;
    int       success;
    char      type[24];                 /* "SQL", "BASELINE" */
    char      script[128];
} tf_applied_t;

typedef struct {
    tf_applied_t  *list;
    size_t         n;
    long           rank;                /* highest installed_rank */
    int            exists;              /* the table is there */
} tf_history_t;


/*
 * Flyway's checksum: CRC-32 of the lines without their ends ("\n", "\r" or
 * "\r\n"), without a byte order mark, as a signed number.
 */
int32_t tf_migrate_checksum(const char *data, size_t len);

/* The version in a file's name, or -1 when it is not V<n>__<what>.sql. */
long tf_migrate_version(const char *name);

int tf_migrations_read(tf_migrations_t *m, const char *folder, char *err);
void tf_migrations_free(tf_migrations_t *m);

/*
 * The index in m of the first file that is still to be applied (m->n: none),
 * or -1 with a message that says what does not fit and what to do.
 */
long tf_migrate_plan(const tf_migrations_t *m, const tf_history_t *history,
    char *err);


/*
 * One migrate at a time: an advisory lock of the session, for which it waits
 * at most that long.  Closing the connection gives it back.
 */
int tf_migrate_lock(tf_pg_t *pg, int64_t wait, char *err);

int tf_history_read(tf_history_t *history, tf_pg_t *pg, char *err);
void tf_history_free(tf_history_t *history);

/* Makes the history table, readable by the programs' roles. */
int tf_history_create(tf_pg_t *pg, char *err);

/* Applies one file and its row of the history, in one transaction. */
int tf_migrate_apply(tf_pg_t *pg, const tf_migration_t *m, long rank,
    char *err);


#endif /* TF_DB_MIGRATE_H */
