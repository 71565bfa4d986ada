#include "rag/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* Reads until the buffer is full or the file ends; -1 with errno. */

static ssize_t
tf_files_read(int fd, char *data, size_t size)
{
    size_t   len;
    ssize_t  n;

    for (len = 0; len < size; len += (size_t) n) {
        n = read(fd, data + len, size - len);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            return -1;
        }

        if (n == 0) {
            break;
        }
    }

    return (ssize_t) len;
}


/* As a text parameter takes bytes: \x and two digits each. */

static void
tf_files_hex(char *hex, const char *data, size_t len)
{
    size_t             i;
    static const char  digits[] = "0123456789abcdef";

    *hex++ = '\\';
    *hex++ = 'x';

    for (i = 0; i < len; i++) {
        *hex++ = digits[(unsigned char) data[i] >> 4];
        *hex++ = digits[(unsigned char) data[i] & 15];
    }

    *hex = '\0';
}


static tf_pg_status_t
tf_files_part(tf_pg_t *pg, const tf_files_of_t *of, int file, int part,
    const char *hex)
{
    char         numbers[2][16];
    const char  *params[6];

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", file);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%d", part);

    params[0] = of->job;
    params[1] = numbers[0];
    params[2] = numbers[1];
    params[3] = of->tenant;
    params[4] = of->owner;
    params[5] = hex;

    return tf_pg_query(pg, NULL, TF_FILES_MS,
                       "INSERT INTO trifecta.document_blob (job, file, part, "
                       "tenant, owner, body) VALUES ($1, $2, $3, $4, $5, $6)",
                       6, params);
}


static tf_pg_status_t
tf_files_row(tf_pg_t *pg, const tf_files_of_t *of, int file,
    const char *source, int64_t bytes)
{
    char         numbers[2][24];
    const char  *params[6];

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", file);
    (void) snprintf(numbers[1], sizeof(numbers[1]), "%lld",
                    (long long) bytes);

    params[0] = of->job;
    params[1] = numbers[0];
    params[2] = of->tenant;
    params[3] = of->owner;
    params[4] = source;
    params[5] = numbers[1];

    return tf_pg_query(pg, NULL, TF_FILES_MS,
                       "INSERT INTO trifecta.document_file (job, file, "
                       "tenant, owner, source, bytes) "
                       "VALUES ($1, $2, $3, $4, $5, $6)", 6, params);
}


int
tf_files_put(tf_pg_t *pg, const tf_files_of_t *of, int file,
    const char *source, int fd, int64_t max, int64_t *bytes,
    tf_pg_status_t *rc)
{
    int       part, result;
    char     *data, *hex;
    ssize_t   n;

    *bytes = 0;
    *rc = TF_PG_OK;
    result = -1;

    data = malloc(TF_FILES_PART);
    hex = malloc(2 * TF_FILES_PART + 3);

    if (data == NULL || hex == NULL) {
        errno = ENOMEM;
        goto done;
    }

    for (part = 0; *rc == TF_PG_OK; part++) {
        n = tf_files_read(fd, data, TF_FILES_PART);

        if (n == -1) {
            goto done;
        }

        *bytes += n;

        if (*bytes > max) {
            result = 1;
            goto done;
        }

        if (n > 0) {
            tf_files_hex(hex, data, (size_t) n);
            *rc = tf_files_part(pg, of, file, part, hex);
        }

        if (n < TF_FILES_PART) {
            break;
        }
    }

    if (*rc == TF_PG_OK) {
        *rc = tf_files_row(pg, of, file, source, *bytes);
    }

    result = 0;

done:

    free(data);
    free(hex);

    return result;
}


tf_pg_status_t
tf_files_list(tf_pg_t *pg, const tf_files_of_t *of, tf_stored_file_t **list,
    size_t *n)
{
    int                i;
    PGresult          *res;
    const char        *params[1];
    tf_pg_status_t     rc;
    tf_stored_file_t  *files;

    *list = NULL;
    *n = 0;

    rc = tf_pg_begin_as(pg, of->tenant, of->owner, "[]");
    if (rc != TF_PG_OK) {
        return rc;
    }

    params[0] = of->job;

    rc = tf_pg_query(pg, &res, TF_FILES_MS,
                     "SELECT source, bytes FROM trifecta.document_file "
                     "WHERE job = $1 ORDER BY file", 1, params);
    if (rc != TF_PG_OK) {
        tf_pg_rollback(pg);
        return rc;
    }

    files = calloc((size_t) PQntuples(res) + 1, sizeof(tf_stored_file_t));

    for (i = 0; files != NULL && i < PQntuples(res); i++) {
        files[i].source = strdup(PQgetvalue(res, i, 0));
        files[i].bytes = strtoul(PQgetvalue(res, i, 1), NULL, 10);
        (*n)++;
    }

    PQclear(res);
    *list = files;

    return tf_pg_commit(pg);
}


tf_pg_status_t
tf_files_get(tf_pg_t *pg, const tf_files_of_t *of, int file, size_t bytes,
    char **data)
{
    int              part;
    char             numbers[2][16], *all;
    size_t           len, n;
    PGresult        *res;
    const char      *params[3];
    unsigned char   *body;
    tf_pg_status_t   rc;

    *data = NULL;

    all = malloc(bytes + 1);
    if (all == NULL) {
        return TF_PG_OK;
    }

    rc = tf_pg_begin_as(pg, of->tenant, of->owner, "[]");

    (void) snprintf(numbers[0], sizeof(numbers[0]), "%d", file);
    params[0] = of->job;
    params[1] = numbers[0];
    params[2] = numbers[1];

    for (part = 0, len = 0; rc == TF_PG_OK && len < bytes; part++) {
        (void) snprintf(numbers[1], sizeof(numbers[1]), "%d", part);

        rc = tf_pg_query(pg, &res, TF_FILES_MS,
                         "SELECT body FROM trifecta.document_blob "
                         "WHERE job = $1 AND file = $2 AND part = $3", 3,
                         params);
        if (rc != TF_PG_OK) {
            break;
        }

        n = 0;
        body = PQntuples(res) == 1
               ? PQunescapeBytea((unsigned char *) PQgetvalue(res, 0, 0), &n)
               : NULL;
        PQclear(res);

        if (body == NULL || n == 0 || n > bytes - len) {
            PQfreemem(body);
            break;
        }

        memcpy(all + len, body, n);
        len += n;
        PQfreemem(body);
    }

    if (rc == TF_PG_OK) {
        rc = tf_pg_commit(pg);

    } else {
        tf_pg_rollback(pg);
    }

    if (rc != TF_PG_OK || len < bytes) {
        free(all);
        return rc;
    }

    all[len] = '\0';
    *data = all;

    return TF_PG_OK;
}
