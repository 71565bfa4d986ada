#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "extract/archive.h"
#include "extract/zip.h"


typedef struct {
    tf_extract_t  *ex;
    tf_buf_t       data;
} tf_archive_piece_t;


static int tf_archive_any(tf_archive_t *archive, const char *name,
    tf_archive_source_t *source, const char *path);
static const char *tf_archive_bad_path(const char *name);
static int tf_archive_is_hidden(const char *name);
static int tf_archive_has(const char *name, const char *suffix);
static int tf_archive_piece(void *ctx, const char *data, size_t len);


int
tf_archive_is(const char *name)
{
    return tf_archive_has(name, ".zip") || tf_archive_has(name, ".tar")
           || tf_archive_has(name, ".tar.gz") || tf_archive_has(name, ".tgz");
}


static int
tf_archive_has(const char *name, const char *suffix)
{
    size_t       n, len;
    const char  *base;

    base = strrchr(name, '/');
    base = base == NULL ? name : base + 1;

    n = strlen(suffix);
    len = strlen(base);

    return len > n && strcasecmp(base + len - n, suffix) == 0;
}


int
tf_archive_read(const tf_limits_t *limits, const char *name, int fd,
    int64_t size, const tf_archive_handlers_t *handlers, char *err,
    size_t errlen)
{
    int                   rc;
    tf_archive_t          archive;
    tf_archive_source_t   source;

    memset(&archive, 0, sizeof(tf_archive_t));
    archive.ex.limits = limits;
    archive.ex.err = archive.err;
    archive.ex.errlen = sizeof(archive.err);
    archive.handlers = handlers;

    source.fd = fd;
    source.data = NULL;
    source.size = size;
    source.pos = 0;

    rc = tf_archive_any(&archive, name, &source, "");

    (void) snprintf(err, errlen, "%s", archive.ended ? "" : archive.err);

    return rc;
}


static int
tf_archive_any(tf_archive_t *archive, const char *name,
    tf_archive_source_t *source, const char *path)
{
    archive->ex.deadline = tf_clock_ms()
                           + archive->ex.limits->v[TF_LIMIT_seconds] * 1000;

    if (tf_archive_has(name, ".zip")) {
        return tf_archive_zip(archive, source, path);
    }

    return tf_archive_tar(archive, source, path,
                          !tf_archive_has(name, ".tar"));
}


int
tf_archive_zip(tf_archive_t *archive, tf_archive_source_t *source,
    const char *path)
{
    int                  rc;
    char                 full[PATH_MAX];
    int64_t              i, n;
    tf_zip_t            *zip;
    const char          *name, *special;
    tf_member_t          what;
    tf_archive_piece_t   piece;

    zip = source->fd == -1
          ? tf_zip_open(&archive->ex, source->data, (size_t) source->size)
          : tf_zip_open_fd(&archive->ex, source->fd, source->size);

    if (zip == NULL) {
        return -1;
    }

    rc = 0;
    n = tf_zip_members(zip);

    for (i = 0; i < n && rc == 0; i++) {
        name = tf_zip_name(zip, i, &special);

        if (name == NULL) {
            name = "?";
            special = "without a name";
        }

        if (name[0] && name[strlen(name) - 1] == '/' && special == NULL) {
            continue;
        }

        what = tf_archive_begin(archive, path, name, special, full,
                                sizeof(full));

        if (what != TF_MEMBER_READ) {
            rc = what == TF_MEMBER_STOP ? -1 : 0;
            continue;
        }

        memset(&piece, 0, sizeof(tf_archive_piece_t));
        piece.ex = &archive->ex;

        if (tf_zip_read(zip, i, tf_archive_piece, &piece) == 0) {
            rc = tf_archive_member(archive, full,
                                   piece.data.len ? piece.data.data : "",
                                   piece.data.len);

        } else if (archive->ex.unpacked
                   > archive->ex.limits->v[TF_LIMIT_unpacked])
        {
            rc = -1;

        } else {
            tf_archive_skip(archive, full);
        }

        tf_buf_free(&piece.data);
    }

    tf_zip_close(zip);

    return rc;
}


static int
tf_archive_piece(void *ctx, const char *data, size_t len)
{
    int64_t              max;
    tf_archive_piece_t  *piece = ctx;

    max = piece->ex->limits->v[TF_LIMIT_file];

    if ((int64_t) (piece->data.len + len) > max) {
        return tf_extract_limit(piece->ex, TF_LIMIT_file,
                                "larger than %lld MB",
                                (long long) (max / TF_MB));
    }

    tf_buf_append(&piece->data, data, len);

    return piece->data.failed ? tf_extract_refuse(piece->ex, "out of memory")
                              : 0;
}


tf_member_t
tf_archive_begin(tf_archive_t *archive, const char *path, const char *name,
    const char *special, char *full, size_t size)
{
    const char    *why, *base;
    tf_extract_t  *ex;

    ex = &archive->ex;

    if (++ex->members > ex->limits->v[TF_LIMIT_members]) {
        (void) tf_extract_limit(ex, TF_LIMIT_members,
                                "has more than %lld members",
                                (long long) ex->members - 1);
        return TF_MEMBER_STOP;
    }

    while (name[0] == '.' && name[1] == '/') {
        name += 2;
        while (*name == '/') {
            name++;
        }
    }

    why = tf_archive_bad_path(name);

    if (why == NULL && special != NULL) {
        why = special;
    }

    if ((size_t) snprintf(full, size, "%s%s%s", path, path[0] ? "/" : "",
                          name) >= size)
    {
        why = "its path is too long";
    }

    if (why != NULL) {
        archive->handlers->skipped(archive->handlers->ctx, full, why);
        return TF_MEMBER_PASS;
    }

    if (name[0] == '\0' || tf_archive_is_hidden(name)) {
        return TF_MEMBER_PASS;
    }

    /* the time of a file starts with each of them */

    ex->said = 0;
    ex->deadline = tf_clock_ms() + ex->limits->v[TF_LIMIT_seconds] * 1000;

    base = strrchr(name, '/');

    if (tf_extract_format(name) == NULL && !tf_archive_is(name)
        && strchr(base == NULL ? name : base, '.') != NULL)
    {
        if (archive->handlers->member(archive->handlers->ctx, full, NULL, 0)
            != 0)
        {
            archive->ended = 1;
            return TF_MEMBER_STOP;
        }

        return TF_MEMBER_PASS;
    }

    return TF_MEMBER_READ;
}


/* What no folder has, said as it is. */

static const char *
tf_archive_bad_path(const char *name)
{
    size_t       n;
    const char  *s;

    if (name[0] == '/' || name[0] == '\\'
        || (name[0] != '\0' && name[1] == ':'))
    {
        return "an absolute path";
    }

    for (s = name; *s; s += n + (s[n] != '\0')) {
        n = strcspn(s, "/\\");

        if (n == 2 && s[0] == '.' && s[1] == '.') {
            return "a path that leads out of the archive";
        }
    }

    if (tf_utf8_valid(name, strlen(name)) != strlen(name)) {
        return "its name is not valid UTF-8";
    }

    return NULL;
}


static int
tf_archive_is_hidden(const char *name)
{
    return name[0] == '.' || strstr(name, "/.") != NULL
           || strncmp(name, "__MACOSX/", 9) == 0;
}


int
tf_archive_member(tf_archive_t *archive, const char *full, const char *data,
    size_t len)
{
    int                   rc;
    tf_extract_t         *ex;
    tf_archive_source_t   source;

    ex = &archive->ex;

    if (!tf_archive_is(full)) {
        rc = archive->handlers->member(archive->handlers->ctx, full, data,
                                       len);
        archive->ended |= (rc != 0);
        return rc;
    }

    if (ex->nesting + 1 > ex->limits->v[TF_LIMIT_nesting]) {
        (void) tf_extract_limit(ex, TF_LIMIT_nesting, "archives are nested "
                                "more than %u deep", ex->nesting);
        tf_archive_skip(archive, full);
        return 0;
    }

    source.fd = -1;
    source.data = data;
    source.size = (int64_t) len;
    source.pos = 0;

    ex->nesting++;
    rc = tf_archive_any(archive, full, &source, full);
    ex->nesting--;

    if (rc == 0 || archive->ended
        || ex->unpacked > ex->limits->v[TF_LIMIT_unpacked]
        || ex->members > ex->limits->v[TF_LIMIT_members])
    {
        return rc;
    }

    /* the inner one is bad, the others need not be */

    tf_archive_skip(archive, full);

    return 0;
}


void
tf_archive_skip(tf_archive_t *archive, const char *full)
{
    archive->handlers->skipped(archive->handlers->ctx, full, archive->err);
    archive->ex.said = 0;
    archive->err[0] = '\0';
}
