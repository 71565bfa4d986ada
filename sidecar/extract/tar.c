#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/buf.h"
#include "extract/archive.h"


/*
 * tar, plain or packed with gzip, in one pass: headers of 512 bytes, each
 * followed by the member.  Long names come as members of their own (GNU, pax).
 */

#define TF_TAR_BLOCK   512
#define TF_TAR_EXTRA   65536    /* bytes of a long name */

typedef struct {
    tf_archive_t         *archive;
    tf_archive_source_t  *source;
    int                   packed;
    z_stream              z;
    int                   z_end;
    int64_t               in;           /* packed bytes so far */
    int64_t               out;
    unsigned char         raw[32768];

    char                  name[PATH_MAX];   /* of a header before */
    int64_t               size;             /* of one, or -1 */
} tf_tar_t;


static int tf_tar_members(tf_tar_t *tar, const char *path);
static int tf_tar_entry(tf_tar_t *tar, const char *path,
    const unsigned char *header);
static int tf_tar_extra(tf_tar_t *tar, char type, int64_t size);
static void tf_tar_pax(tf_tar_t *tar, const char *s, size_t len);
static void tf_tar_name(tf_tar_t *tar, const unsigned char *header,
    char *name, size_t size);
static int64_t tf_tar_number(const unsigned char *s, size_t len);
static int tf_tar_sum_ok(const unsigned char *header);
static int tf_tar_take(tf_tar_t *tar, int64_t size, tf_buf_t *data);
static int64_t tf_tar_read(tf_tar_t *tar, void *buf, size_t len);
static int64_t tf_tar_inflate(tf_tar_t *tar, void *buf, size_t len);
static int64_t tf_tar_source(tf_archive_source_t *source, void *buf,
    size_t len);


int
tf_archive_tar(tf_archive_t *archive, tf_archive_source_t *source,
    const char *path, int packed)
{
    int        rc;
    tf_tar_t  *tar;

    tar = calloc(1, sizeof(tf_tar_t));
    if (tar == NULL) {
        return tf_extract_refuse(&archive->ex, "out of memory");
    }

    tar->archive = archive;
    tar->source = source;
    tar->packed = packed;
    tar->size = -1;

    if (packed && inflateInit2(&tar->z, 15 + 16) != Z_OK) {
        free(tar);
        return tf_extract_refuse(&archive->ex, "out of memory");
    }

    rc = tf_tar_members(tar, path);

    if (packed) {
        (void) inflateEnd(&tar->z);
    }

    free(tar);

    return rc;
}


static int
tf_tar_members(tf_tar_t *tar, const char *path)
{
    int            rc;
    int64_t        n, count;
    tf_extract_t  *ex;
    unsigned char  header[TF_TAR_BLOCK];

    ex = &tar->archive->ex;
    rc = 0;

    for (count = 0; rc == 0; count++) {
        n = tf_tar_read(tar, header, TF_TAR_BLOCK);

        if (n < 0) {
            return -1;
        }

        if (n == 0 && count > 0) {
            return 0;
        }

        if (n < TF_TAR_BLOCK) {
            return tf_extract_refuse(ex, "is damaged: it ends within a "
                                     "header; pack it again");
        }

        if (header[0] == '\0') {
            return 0;               /* blocks of zeros end it */
        }

        if (!tf_tar_sum_ok(header)) {
            return tf_extract_refuse(ex, "is damaged, or no tar archive: a "
                                     "header's checksum is wrong");
        }

        rc = tf_tar_entry(tar, path, header);
    }

    return rc;
}


static int
tf_tar_entry(tf_tar_t *tar, const char *path, const unsigned char *header)
{
    int            rc;
    char           full[PATH_MAX], name[PATH_MAX], type;
    int64_t        size;
    tf_buf_t       data = TF_BUF_INIT;
    const char    *special;
    tf_member_t    what;
    tf_archive_t  *archive;

    archive = tar->archive;
    type = (char) header[156];
    size = tf_tar_number(header + 124, 12);

    if (size < 0) {
        return tf_extract_refuse(&archive->ex, "is damaged: a member of an "
                                 "impossible size");
    }

    if (type == 'L' || type == 'x' || type == 'K' || type == 'g') {
        return tf_tar_extra(tar, type, size);
    }

    tf_tar_name(tar, header, name, sizeof(name));

    if (tar->size >= 0) {
        size = tar->size;
    }

    tar->name[0] = '\0';
    tar->size = -1;

    if (type == '5') {
        return tf_tar_take(tar, size, NULL);
    }

    special = type == '1' || type == '2' ? "a link"
              : type == '3' || type == '4' || type == '6'
                ? "a device or a FIFO"
              : type == '\0' || type == '0' || type == '7' ? NULL
              : "a member of an unknown kind";

    /* links and devices have no data, whatever the size says */

    if (type >= '1' && type <= '6') {
        size = 0;
    }

    what = tf_archive_begin(archive, path, name, special, full, sizeof(full));

    if (what == TF_MEMBER_STOP) {
        return -1;
    }

    if (what == TF_MEMBER_READ
        && size > archive->ex.limits->v[TF_LIMIT_file])
    {
        (void) tf_extract_limit(&archive->ex, TF_LIMIT_file,
                                "has %lld bytes", (long long) size);
        tf_archive_skip(archive, full);
        what = TF_MEMBER_PASS;
    }

    if (what == TF_MEMBER_PASS) {
        return tf_tar_take(tar, size, NULL);
    }

    rc = tf_tar_take(tar, size, &data);

    if (rc == 0) {
        rc = tf_archive_member(archive, full, data.len ? data.data : "",
                               data.len);
    }

    tf_buf_free(&data);

    return rc;
}


/* A long name for the member that follows; what else there is, is dropped. */

static int
tf_tar_extra(tf_tar_t *tar, char type, int64_t size)
{
    int       rc;
    tf_buf_t  data = TF_BUF_INIT;

    if (size > TF_TAR_EXTRA) {
        return tf_extract_refuse(&tar->archive->ex, "is damaged: a name of "
                                 "%lld bytes", (long long) size);
    }

    rc = tf_tar_take(tar, size, &data);

    if (rc == 0 && data.len) {
        if (type == 'L') {
            (void) snprintf(tar->name, sizeof(tar->name), "%s", data.data);

        } else if (type == 'x') {
            tf_tar_pax(tar, data.data, data.len);
        }
    }

    tf_buf_free(&data);

    return rc;
}


/* Records "length key=value\n". */

static void
tf_tar_pax(tf_tar_t *tar, const char *s, size_t len)
{
    char    *end;
    size_t   n, used, value;

    while (len) {
        n = strtoul(s, &end, 10);
        used = (size_t) (end - s);

        if (n > len || n < used + 3 || *end != ' ' || s[n - 1] != '\n') {
            return;
        }

        end++;
        value = n - used - 2;

        if (value > 5 && memcmp(end, "path=", 5) == 0) {
            (void) snprintf(tar->name, sizeof(tar->name), "%.*s",
                            (int) (value - 5), end + 5);

        } else if (value > 5 && memcmp(end, "size=", 5) == 0) {
            tar->size = strtoll(end + 5, NULL, 10);
        }

        s += n;
        len -= n;
    }
}


static void
tf_tar_name(tf_tar_t *tar, const unsigned char *header, char *name,
    size_t size)
{
    const char  *s;

    if (tar->name[0]) {
        (void) snprintf(name, size, "%s", tar->name);
        return;
    }

    s = (const char *) header;

    if (memcmp(s + 257, "ustar", 6) == 0 && s[345]) {
        (void) snprintf(name, size, "%.155s/%.100s", s + 345, s);
        return;
    }

    (void) snprintf(name, size, "%.100s", s);
}


/* Octal digits, or with the first bit set a number; -1: too large. */

static int64_t
tf_tar_number(const unsigned char *s, size_t len)
{
    size_t    i;
    int64_t   value;

    value = 0;

    if (s[0] & 0x80) {
        for (i = 0; i < len; i++) {
            if (value > INT64_MAX / 512) {
                return -1;
            }
            value = value * 256 + (i ? s[i] : s[i] & 0x7f);
        }

        return value;
    }

    for (i = 0; i < len && s[i] == ' '; i++) { /* void */ }

    for (/* void */; i < len && s[i] >= '0' && s[i] <= '7'; i++) {
        value = value * 8 + (s[i] - '0');
    }

    return value;
}


static int
tf_tar_sum_ok(const unsigned char *header)
{
    size_t   i;
    int64_t  sum;

    for (i = 0, sum = 0; i < TF_TAR_BLOCK; i++) {
        sum += (i >= 148 && i < 156) ? ' ' : header[i];
    }

    return sum == tf_tar_number(header + 148, 8);
}


/* Reads a member and what fills its last block; data NULL: drops it. */

static int
tf_tar_take(tf_tar_t *tar, int64_t size, tf_buf_t *data)
{
    char      piece[32768];
    int64_t   n, left, want;

    /* a size near the greatest number has no block after it */

    left = size / TF_TAR_BLOCK * TF_TAR_BLOCK;
    left += left < size && left < INT64_MAX - TF_TAR_BLOCK ? TF_TAR_BLOCK : 0;

    for (/* void */; left > 0; left -= n) {
        want = left < (int64_t) sizeof(piece) ? left
                                              : (int64_t) sizeof(piece);

        n = tf_tar_read(tar, piece, (size_t) want);

        if (n < 0) {
            return -1;
        }

        if (n == 0) {
            return tf_extract_refuse(&tar->archive->ex, "is damaged: it ends "
                                     "within a member; pack it again");
        }

        if (data != NULL) {
            want = size - (int64_t) data->len;
            tf_buf_append(data, piece, (size_t) (n < want ? n : want));

            if (data->failed) {
                return tf_extract_refuse(&tar->archive->ex, "out of memory");
            }
        }

        if (tf_extract_late(&tar->archive->ex) != 0) {
            return -1;
        }
    }

    return 0;
}


/* As much as there is up to len; 0 at the end, -1 after it was said why. */

static int64_t
tf_tar_read(tf_tar_t *tar, void *buf, size_t len)
{
    int64_t        n;
    size_t         done;
    tf_extract_t  *ex;

    ex = &tar->archive->ex;

    for (done = 0; done < len; done += (size_t) n) {
        n = tar->packed
            ? tf_tar_inflate(tar, (char *) buf + done, len - done)
            : tf_tar_source(tar->source, (char *) buf + done, len - done);

        if (n < 0) {
            return tf_extract_refuse(ex, tar->packed
                                     ? "is damaged, or not packed with gzip; "
                                       "pack it again" : "cannot be read");
        }

        if (n == 0) {
            break;
        }
    }

    tar->out += (int64_t) done;
    ex->unpacked += (int64_t) done;

    if (ex->unpacked > ex->limits->v[TF_LIMIT_unpacked]) {
        return tf_extract_limit(ex, TF_LIMIT_unpacked,
                                "unpacks to more than %lld bytes",
                                (long long) (ex->unpacked - (int64_t) done));
    }

    if (tar->packed && tar->out > TF_MB
        && tar->out > tar->in * ex->limits->v[TF_LIMIT_ratio])
    {
        return tf_extract_limit(ex, TF_LIMIT_ratio, "unpacks %lld bytes to "
                                "more than %lld", (long long) tar->in,
                                (long long) (tar->out - (int64_t) done));
    }

    return (int64_t) done;
}


static int64_t
tf_tar_inflate(tf_tar_t *tar, void *buf, size_t len)
{
    int      rc;
    int64_t  n;

    if (tar->z_end) {
        return 0;
    }

    tar->z.next_out = buf;
    tar->z.avail_out = (uInt) len;

    while (tar->z.avail_out == len) {

        if (tar->z.avail_in == 0) {
            n = tf_tar_source(tar->source, tar->raw, sizeof(tar->raw));

            if (n <= 0) {
                return -1;          /* it ends before its own end */
            }

            tar->in += n;
            tar->z.next_in = tar->raw;
            tar->z.avail_in = (uInt) n;
        }

        rc = inflate(&tar->z, Z_NO_FLUSH);

        if (rc == Z_STREAM_END) {
            tar->z_end = 1;
            break;
        }

        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return -1;
        }
    }

    return (int64_t) (len - tar->z.avail_out);
}


static int64_t
tf_tar_source(tf_archive_source_t *source, void *buf, size_t len)
{
    ssize_t  n;

    if ((int64_t) len > source->size - source->pos) {
        len = (size_t) (source->size - source->pos);
    }

    if (len == 0) {
        return 0;
    }

    if (source->fd == -1) {
        memcpy(buf, source->data + source->pos, len);
        n = (ssize_t) len;

    } else {
        do {
            n = pread(source->fd, buf, len, source->pos);
        } while (n == -1 && errno == EINTR);

        if (n < 0) {
            return -1;
        }
    }

    source->pos += n;

    return n;
}
