#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>

#include <trifecta/id.h>

#include "base/buf.h"
#include "cli/doctor.h"
#include "net/http.h"


/* Keys and passwords in files, and nginx as a client sees it. */

#define TF_DOCTOR_JWT_KEY_MIN  32
#define TF_DOCTOR_EDGE_MS      5000

#define TF_DOCTOR_NO_JOB                                                      \
    "/api/v1/query/00000000-0000-7000-8000-000000000000"


/*
 * A file with a secret: nobody but its owner writes it, nobody outside its
 * group reads it.  Its content, or NULL; both have been reported then, with
 * a file that is as it should be left to the caller.
 */

static char *
tf_doctor_secret(tf_doctor_t *d, const char *what, const char *file,
    size_t *len)
{
    char         *data;
    struct stat   st;

    data = tf_read_file(file, 65536, len);

    if (data == NULL || stat(file, &st) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, what,
                      "make the file, or correct its name or rights",
                      "\"%s\": %s", file, strerror(errno));
        free(data);
        return NULL;
    }

    if (st.st_mode & (S_IWGRP | S_IRWXO)) {
        tf_doctor_add(d, TF_DOCTOR_WARN, what, "chmod 600 (640 if a group "
                      "must read it)", "\"%s\" has mode %04o", file,
                      (unsigned) st.st_mode & 07777);
    }

    return data;
}


static void
tf_doctor_id_key(tf_doctor_t *d)
{
    char          *data;
    size_t         len;
    const char    *why;
    tf_id_keys_t   keys;

    if (d->conf->id_key_file[0] == '\0') {
        tf_doctor_add(d, TF_DOCTOR_WARN, "id key",
                      "set id_key_file to the file of nginx's "
                      "trifecta_id_key_file", "not set, not checked");
        return;
    }

    data = tf_doctor_secret(d, "id key", d->conf->id_key_file, &len);
    if (data == NULL) {
        return;
    }

    why = tf_id_keys_parse(&keys, data, len);

    if (why != NULL) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "id key",
                      "one key of 32 to 128 bytes a line (openssl rand -hex "
                      "32), at most two, the current one first", "\"%s\": %s",
                      d->conf->id_key_file, why);

    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "id key", NULL, "%u in \"%s\"",
                      keys.n, d->conf->id_key_file);
    }

    OPENSSL_cleanse(&keys, sizeof(tf_id_keys_t));
    OPENSSL_cleanse(data, len);
    free(data);
}


static void
tf_doctor_jwt_key(tf_doctor_t *d)
{
    char    *data;
    size_t   len, n;

    if (d->conf->jwt_key_file[0] == '\0') {
        tf_doctor_add(d, TF_DOCTOR_OK, "token key", NULL, "not set: \"trifecta "
                      "token\" makes no tokens here");
        return;
    }

    data = tf_doctor_secret(d, "token key", d->conf->jwt_key_file, &len);
    if (data == NULL) {
        return;
    }

    n = len;
    while (n > 0 && (data[n - 1] == '\n' || data[n - 1] == '\r')) {
        n--;
    }

    if (n < TF_DOCTOR_JWT_KEY_MIN) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "token key",
                      "make one of 32 bytes or more: openssl rand -hex 32",
                      "the secret in \"%s\" has %zu bytes",
                      d->conf->jwt_key_file, n);
    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "token key", NULL, "\"%s\"",
                      d->conf->jwt_key_file);
    }

    OPENSSL_cleanse(data, len);
    free(data);
}


void
tf_doctor_keys(tf_doctor_t *d)
{
    char        *data;
    size_t       i, len;
    const char  *files[4];

    tf_doctor_id_key(d);
    tf_doctor_jwt_key(d);

    files[0] = d->conf->redis_password_file;
    files[1] = d->conf->pg_queue_password_file;
    files[2] = d->conf->pg_rag_password_file;
    files[3] = d->conf->pg_edge_password_file;

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i][0] == '\0') {
            continue;
        }

        data = tf_doctor_secret(d, "password", files[i], &len);

        if (data != NULL) {
            OPENSSL_cleanse(data, len);
            free(data);
        }
    }
}


/*
 * The health listener may be another one, so a 404 there says nothing.  The
 * module then shows itself by what it says to a caller without a token.
 */

void
tf_doctor_edge(tf_doctor_t *d)
{
    size_t             len;
    tf_buf_t           url = TF_BUF_INIT;
    tf_http_t          http;
    tf_http_result_t   rc;

    len = strlen(d->conf->url);
    while (len > 0 && d->conf->url[len - 1] == '/') {
        len--;
    }

    tf_buf_append(&url, d->conf->url, len);
    tf_buf_puts(&url, TF_DOCTOR_NO_JOB);

    if (url.failed || tf_http_init(&http, d->conf->ca, NULL) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "nginx", "try again",
                      "out of memory");
        tf_buf_free(&url);
        return;
    }

    rc = tf_http_call(&http, url.data, NULL, TF_DOCTOR_EDGE_MS);

    if (rc == TF_HTTP_TLS) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "nginx",
                      "\"ca\" must name the CA of nginx's certificate, and "
                      "\"url\" a host that the certificate names", "%s: %s",
                      d->conf->url, http.err);

    } else if (rc != TF_HTTP_OK) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "nginx",
                      "start nginx, or correct the key \"url\"", "%s: %s",
                      d->conf->url, http.err);

    } else if (http.status == 401
               && strstr(http.body.data, "missing_token") != NULL)
    {
        tf_doctor_add(d, TF_DOCTOR_OK, "nginx", NULL, "%s answers, and asks "
                      "for a token", d->conf->url);

    } else {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "nginx",
                      "\"url\" must lead to a server with \"trifecta api\" "
                      "in the location /api/v1/", "%s answers %ld instead of "
                      "asking for a token: the module is not there",
                      d->conf->url, http.status);
    }

    tf_http_free(&http);
    tf_buf_free(&url);
}
