#ifndef TF_EXTRACT_ARCHIVE_H
#define TF_EXTRACT_ARCHIVE_H


#include <stddef.h>
#include <stdint.h>

#include "extract/extract.h"


/*
 * Archives (.zip, .tar, .tar.gz, .tgz) as if they were folders: each regular
 * member with its path, also of archives in archives.  Nothing is written
 * anywhere.  What a folder would not have is skipped by name: paths that lead
 * outside, links, devices; hidden names are passed over.
 *
 * A member that goes beyond a limit, or is damaged, is skipped; an archive
 * that does (unpacked, members, nesting) ends there.
 */

typedef struct {
    /* data is NULL: of no known format; -1 ends it all */
    int   (*member)(void *ctx, const char *path, const char *data,
                    size_t len);
    void  (*skipped)(void *ctx, const char *path, const char *why);
    void   *ctx;
} tf_archive_handlers_t;

/* Where its bytes are: in memory, or in a file. */

typedef struct {
    int           fd;           /* -1: in memory */
    const char   *data;
    int64_t       size;
    int64_t       pos;
} tf_archive_source_t;

/* An archive at work; one in another one shares all but the path. */

typedef struct {
    tf_extract_t                  ex;
    char                          err[400];
    const tf_archive_handlers_t  *handlers;
    int                           ended;    /* by the member handler */
} tf_archive_t;


/* Whether the suffix is one of an archive. */
int tf_archive_is(const char *name);

/*
 * Reads a regular file that is open: 0, or -1 when it ended early, with the
 * reason in err, or "" when a handler wanted it.
 */
int tf_archive_read(const tf_limits_t *limits, const char *name, int fd,
    int64_t size, const tf_archive_handlers_t *handlers, char *err,
    size_t errlen);


/* For the readers of zip and tar. */

int tf_archive_zip(tf_archive_t *archive, tf_archive_source_t *source,
    const char *path);
int tf_archive_tar(tf_archive_t *archive, tf_archive_source_t *source,
    const char *path, int packed);

typedef enum {
    TF_MEMBER_READ,
    TF_MEMBER_PASS,         /* it was said, or need not be */
    TF_MEMBER_STOP          /* ex.err says why */
} tf_member_t;

/*
 * Whether to read a member called name; full is its path then.  special:
 * what it is that is no file, or NULL.
 */
tf_member_t tf_archive_begin(tf_archive_t *archive, const char *path,
    const char *name, const char *special, char *full, size_t size);

/* Hands over what was read; an archive is read on in its turn. */
int tf_archive_member(tf_archive_t *archive, const char *full,
    const char *data, size_t len);

/* A member cannot be read: says ex.err and goes on. */
void tf_archive_skip(tf_archive_t *archive, const char *full);


#endif /* TF_EXTRACT_ARCHIVE_H */
