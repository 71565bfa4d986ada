#ifndef TF_EXTRACT_ZIP_H
#define TF_EXTRACT_ZIP_H


#include <stddef.h>
#include <stdint.h>

#include "extract/sax.h"


/*
 * ZIP files, which office files are, too, member by member.
 *
 * What a directory claims is believed only when it is bad: a member that
 * claims too much is refused at once, one that unpacks to more than it claims
 * or than the limits allow is stopped there.  Members are found by their
 * place in the directory; their names open nothing.
 */

typedef struct tf_zip_s  tf_zip_t;

/* 0, or -1 to stop: then the caller has said why. */
typedef int (*tf_zip_pt)(void *ctx, const char *data, size_t len);


/* From memory, or from a file that stays open; NULL: it was said why. */
tf_zip_t *tf_zip_open(tf_extract_t *ex, const char *data, size_t len);
tf_zip_t *tf_zip_open_fd(tf_extract_t *ex, int fd, int64_t size);
void tf_zip_close(tf_zip_t *zip);

int64_t tf_zip_members(const tf_zip_t *zip);

/* NULL: unreadable.  A link or a device shows in *special. */
const char *tf_zip_name(tf_zip_t *zip, int64_t i, const char **special);
int64_t tf_zip_find(tf_zip_t *zip, const char *name);

/* Unpacks a member in pieces: 0, or -1. */
int tf_zip_read(tf_zip_t *zip, int64_t i, tf_zip_pt piece, void *ctx);

/* Parses a member: 0, 1 when there is none of this name, or -1. */
int tf_zip_parse(tf_zip_t *zip, const char *name,
    tf_sax_handlers_t *handlers);


#endif /* TF_EXTRACT_ZIP_H */
