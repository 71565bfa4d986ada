#include "db/migrate.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include <trifecta/version.h>

#include "base/buf.h"


#define TF_MIGRATE_FILE_MAX     (16 * 1024 * 1024)
#define TF_MIGRATE_VERSION_MAX  999999


int32_t
tf_migrate_checksum(const char *data, size_t len)
{
    size_t       n;
    uLong        crc;
    const char  *p, *end, *eol;

    p = data;
    end = data + len;
    crc = crc32(0, NULL, 0);

    if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
    }

    while (p < end) {
        for (eol = p; eol < end && *eol != '\n' && *eol != '\r'; eol++) {
            /* void */
        }

        n = (size_t) (eol - p);
        if (n) {
            crc = crc32(crc, (const Bytef *) p, (uInt) n);
        }

        p = eol + 1;
    }

    return (int32_t) (uint32_t) crc;
}


long
tf_migrate_version(const char *name)
{
    char    *end;
    long     version;
    size_t   len;

    if (name[0] != 'V' || !isdigit((unsigned char) name[1])) {
        return -1;
    }

    errno = 0;
    version = strtol(name + 1, &end, 10);

    if (errno || version < 1 || version > TF_MIGRATE_VERSION_MAX
        || strncmp(end, "__", 2) != 0)
    {
        return -1;
    }

    len = strlen(end + 2);

    if (len < sizeof("x.sql") - 1 || strcmp(end + 2 + len - 4, ".sql") != 0) {
        return -1;
    }

    return version;
}


static void
tf_migration_free(tf_migration_t *m)
{
    free(m->script);
    free(m->description);
    free(m->sql);
}


void
tf_migrations_free(tf_migrations_t *m)
{
    size_t  i;

    for (i = 0; i < m->n; i++) {
        tf_migration_free(&m->list[i]);
    }

    free(m->list);
    memset(m, 0, sizeof(tf_migrations_t));
}


static int
tf_migration_read(tf_migration_t *m, const char *folder, const char *name,
    char *err)
{
    char      *p;
    tf_buf_t   path = TF_BUF_INIT;

    memset(m, 0, sizeof(tf_migration_t));

    m->version = tf_migrate_version(name);

    if (m->version == -1) {
        (void) snprintf(err, TF_MIGRATE_ERR, "\"%s\" in \"%s\" is not named "
                        "V<number>__<what>.sql: rename or remove it", name,
                        folder);
        return -1;
    }

    tf_buf_printf(&path, "%s/%s", folder, name);

    m->script = strdup(name);
    m->description = strdup(strstr(name, "__") + 2);

    if (path.failed || m->script == NULL || m->description == NULL) {
        (void) snprintf(err, TF_MIGRATE_ERR, "out of memory");
        goto failed;
    }

    m->description[strlen(m->description) - 4] = '\0';

    for (p = m->description; *p; p++) {
        if (*p == '_') {
            *p = ' ';
        }
    }

    m->sql = tf_read_file(path.data, TF_MIGRATE_FILE_MAX, &m->len);

    if (m->sql == NULL) {
        (void) snprintf(err, TF_MIGRATE_ERR, "cannot read \"%s\": %s",
                        path.data, strerror(errno));
        goto failed;
    }

    if (memchr(m->sql, '\0', m->len) != NULL) {
        (void) snprintf(err, TF_MIGRATE_ERR, "\"%s\" is not text: it has a "
                        "zero byte", path.data);
        goto failed;
    }

    m->checksum = tf_migrate_checksum(m->sql, m->len);

    tf_buf_free(&path);

    return 0;

failed:

    tf_buf_free(&path);
    tf_migration_free(m);

    return -1;
}


static int
tf_migration_compare(const void *one, const void *two)
{
    const tf_migration_t  *a, *b;

    a = one;
    b = two;

    if (a->version != b->version) {
        return a->version < b->version ? -1 : 1;
    }

    return strcmp(a->script, b->script);
}


/* Versions are 1, 2, 3 ... up to the one that this program is made for. */

static int
tf_migrations_check(const tf_migrations_t *m, const char *folder, char *err)
{
    size_t  i;

    for (i = 0; i < m->n; i++) {
        if (i > 0 && m->list[i].version == m->list[i - 1].version) {
            (void) snprintf(err, TF_MIGRATE_ERR, "version %ld is there twice "
                            "in \"%s\": %s and %s", m->list[i].version,
                            folder, m->list[i - 1].script, m->list[i].script);
            return -1;
        }

        if (m->list[i].version != (long) i + 1) {
            (void) snprintf(err, TF_MIGRATE_ERR, "version %ld is missing in "
                            "\"%s\": the file after it is %s", (long) i + 1,
                            folder, m->list[i].script);
            return -1;
        }
    }

    if (m->n != TF_PG_SCHEMA) {
        (void) snprintf(err, TF_MIGRATE_ERR, "\"%s\" goes up to version %ld, "
                        "this program (%s) needs %d: \"migrations\" must name "
                        "the folder of the same release", folder, (long) m->n,
                        TF_VERSION, TF_PG_SCHEMA);
        return -1;
    }

    return 0;
}


int
tf_migrations_read(tf_migrations_t *m, const char *folder, char *err)
{
    DIR             *dir;
    size_t           len;
    tf_migration_t  *list;
    struct dirent   *ent;

    memset(m, 0, sizeof(tf_migrations_t));

    dir = opendir(folder);
    if (dir == NULL) {
        (void) snprintf(err, TF_MIGRATE_ERR, "cannot open the folder \"%s\" "
                        "(key \"migrations\"): %s", folder, strerror(errno));
        return -1;
    }

    for ( ;; ) {
        errno = 0;
        ent = readdir(dir);

        if (ent == NULL) {
            if (errno) {
                (void) snprintf(err, TF_MIGRATE_ERR, "cannot read \"%s\": %s",
                                folder, strerror(errno));
                goto failed;
            }
            break;
        }

        len = strlen(ent->d_name);
        if (ent->d_name[0] == '.' || len < 4
            || strcmp(ent->d_name + len - 4, ".sql") != 0)
        {
            continue;
        }

        list = realloc(m->list, (m->n + 1) * sizeof(tf_migration_t));
        if (list == NULL) {
            (void) snprintf(err, TF_MIGRATE_ERR, "out of memory");
            goto failed;
        }

        m->list = list;

        if (tf_migration_read(&list[m->n], folder, ent->d_name, err) != 0) {
            goto failed;
        }

        m->n++;
    }

    if (m->n) {
        qsort(m->list, m->n, sizeof(tf_migration_t), tf_migration_compare);
    }

    if (tf_migrations_check(m, folder, err) != 0) {
        goto failed;
    }

    (void) closedir(dir);

    return 0;

failed:

    (void) closedir(dir);
    tf_migrations_free(m);

    return -1;
}


/* Whether the file of this row is there and is what was applied. */

static int
tf_migrate_verify(const tf_migrations_t *m, const tf_applied_t *row,
    char *err)
{
    const tf_migration_t  *file;

    if (!row->success) {
        (void) snprintf(err, TF_MIGRATE_ERR, "the history says that %s "
                        "failed: see what it left behind, then delete its row "
                        "from trifecta.flyway_schema_history", row->script);
        return -1;
    }

    if (row->version > (long) m->n) {
        (void) snprintf(err, TF_MIGRATE_ERR, "the database is newer than this "
                        "program: it has version %ld (%s), this is %s with "
                        "version %ld. Install the newer release; going back "
                        "needs a backup", row->version, row->script,
                        TF_VERSION, (long) m->n);
        return -1;
    }

    file = &m->list[row->version - 1];

    if (row->has_checksum && row->checksum != file->checksum) {
        (void) snprintf(err, TF_MIGRATE_ERR, "%s was changed after it was "
                        "applied: the database has checksum %ld, the file has "
                        "%ld. Put the released file back; what must change in "
                        "the schema goes into a new file V%ld__<what>.sql",
                        file->script, (long) row->checksum,
                        (long) file->checksum, (long) m->n + 1);
        return -1;
    }

    return 0;
}


long
tf_migrate_plan(const tf_migrations_t *m, const tf_history_t *history,
    char *err)
{
    long                 next;
    size_t               i;
    const tf_applied_t  *row;

    next = 1;

    for (i = 0; i < history->n; i++) {
        row = &history->list[i];

        if (strcmp(row->type, "BASELINE") == 0 && i == 0
            && row->version <= (long) m->n)
        {
            next = row->version + 1;
            continue;
        }

        if (strcmp(row->type, "SQL") != 0) {
            (void) snprintf(err, TF_MIGRATE_ERR, "the history has a row of "
                            "type \"%s\" for version %ld, which this program "
                            "does not know", row->type, row->version);
            return -1;
        }

        if (tf_migrate_verify(m, row, err) != 0) {
            return -1;
        }

        if (row->version != next) {
            (void) snprintf(err, TF_MIGRATE_ERR, "the history is out of "
                            "order: version %ld where %ld is expected "
                            "(trifecta.flyway_schema_history)", row->version,
                            next);
            return -1;
        }

        next++;
    }

    return next - 1;
}
