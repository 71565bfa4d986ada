#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zip.h>

#include "extract/zip.h"


#define TF_ZIP_TAIL  (65536 + 22 + 20)  /* where the directory's end may be */

struct tf_zip_s {
    tf_extract_t  *ex;
    zip_t         *zip;
    int64_t        size;
    char           name[256];           /* of the member at work */
};


static tf_zip_t *tf_zip_make(tf_extract_t *ex, zip_source_t *source,
    int64_t size, zip_error_t *error);
static int tf_zip_count(tf_extract_t *ex, int fd, const char *data,
    int64_t size);
static int64_t tf_zip_entries(int fd, const char *data, int64_t size,
    const unsigned char *end, int64_t at);
static int tf_zip_pread(int fd, const char *data, int64_t size, void *buf,
    size_t len, int64_t at);
static uint64_t tf_zip_le(const unsigned char *p, int n);
static int tf_zip_piece(void *ctx, const char *data, size_t len);


tf_zip_t *
tf_zip_open(tf_extract_t *ex, const char *data, size_t len)
{
    zip_error_t    error;
    zip_source_t  *source;

    if (len < 4 || memcmp(data, "PK", 2) != 0) {
        (void) tf_extract_refuse(ex, "is no ZIP file, which its suffix says; "
                                 "give it the suffix of its format");
        return NULL;
    }

    if (tf_zip_count(ex, -1, data, (int64_t) len) != 0) {
        return NULL;
    }

    zip_error_init(&error);
    source = zip_source_buffer_create(data, len, 0, &error);

    return tf_zip_make(ex, source, (int64_t) len, &error);
}


tf_zip_t *
tf_zip_open_fd(tf_extract_t *ex, int fd, int64_t size)
{
    FILE          *file;
    int            copy;
    zip_error_t    error;
    zip_source_t  *source;

    if (tf_zip_count(ex, fd, NULL, size) != 0) {
        return NULL;
    }

    copy = dup(fd);
    file = copy == -1 ? NULL : fdopen(copy, "rb");

    if (file == NULL) {
        (void) tf_extract_refuse(ex, "cannot be read: too many open files");
        if (copy != -1) {
            (void) close(copy);
        }
        return NULL;
    }

    zip_error_init(&error);
    source = zip_source_filep_create(file, 0, size, &error);

    if (source == NULL) {
        (void) fclose(file);
    }

    return tf_zip_make(ex, source, size, &error);
}


static tf_zip_t *
tf_zip_make(tf_extract_t *ex, zip_source_t *source, int64_t size,
    zip_error_t *error)
{
    tf_zip_t  *zip;

    zip = calloc(1, sizeof(tf_zip_t));

    if (zip == NULL || source == NULL) {
        (void) tf_extract_refuse(ex, "out of memory");
        goto failed;
    }

    zip->ex = ex;
    zip->size = size;
    zip->zip = zip_open_from_source(source, ZIP_RDONLY, error);

    if (zip->zip == NULL) {
        (void) tf_extract_refuse(ex, "is damaged: %s; pack or save it again",
                                 zip_error_strerror(error));
        goto failed;
    }

    zip_error_fini(error);

    return zip;

failed:

    if (source != NULL) {
        zip_source_free(source);
    }

    zip_error_fini(error);
    free(zip);

    return NULL;
}


void
tf_zip_close(tf_zip_t *zip)
{
    zip_discard(zip->zip);
    free(zip);
}


/*
 * The number of members, before libzip makes room for them.  What looks like
 * an end of the directory in the tail may be the one that libzip takes.
 */

static int
tf_zip_count(tf_extract_t *ex, int fd, const char *data, int64_t size)
{
    int             rc;
    size_t          i, n;
    int64_t         at, entries;
    unsigned char  *tail;

    n = size < TF_ZIP_TAIL ? (size_t) size : TF_ZIP_TAIL;
    at = size - (int64_t) n;

    tail = malloc(n + 1);
    if (tail == NULL || tf_zip_pread(fd, data, size, tail, n, at) != 0) {
        free(tail);
        return tf_extract_refuse(ex, "cannot be read");
    }

    rc = 0;

    for (i = 0; i + 22 <= n && rc == 0; i++) {
        if (memcmp(tail + i, "PK\5\6", 4) != 0) {
            continue;
        }

        entries = (int64_t) tf_zip_le(tail + i + 10, 2);

        if (entries == 0xffff && i >= 20) {
            entries = tf_zip_entries(fd, data, size, tail + i - 20, entries);
        }

        if (entries < 0 || entries > ex->limits->v[TF_LIMIT_members]) {
            rc = tf_extract_limit(ex, TF_LIMIT_members,
                                  "has %lld members", (long long) entries);
        }
    }

    free(tail);

    return rc;
}


/* The number in a large file's directory, if this locates one. */

static int64_t
tf_zip_entries(int fd, const char *data, int64_t size,
    const unsigned char *end, int64_t entries)
{
    uint64_t       at;
    unsigned char  record[56];

    if (memcmp(end, "PK\6\7", 4) != 0) {
        return entries;
    }

    at = tf_zip_le(end + 8, 8);

    if (at > (uint64_t) size
        || tf_zip_pread(fd, data, size, record, sizeof(record), (int64_t) at)
           != 0
        || memcmp(record, "PK\6\6", 4) != 0)
    {
        return entries;
    }

    return (int64_t) tf_zip_le(record + 32, 8);
}


static int
tf_zip_pread(int fd, const char *data, int64_t size, void *buf, size_t len,
    int64_t at)
{
    if (at < 0 || (int64_t) len > size - at) {
        return -1;
    }

    if (data != NULL) {
        memcpy(buf, data + at, len);
        return 0;
    }

    return pread(fd, buf, len, at) == (ssize_t) len ? 0 : -1;
}


static uint64_t
tf_zip_le(const unsigned char *p, int n)
{
    uint64_t  value;

    for (value = 0; n > 0; n--) {
        value = (value << 8) | p[n - 1];
    }

    return value;
}


int64_t
tf_zip_members(const tf_zip_t *zip)
{
    return zip_get_num_entries(zip->zip, 0);
}


const char *
tf_zip_name(tf_zip_t *zip, int64_t i, const char **special)
{
    mode_t         mode;
    zip_uint8_t    system;
    zip_uint32_t   attributes;

    *special = NULL;

    if (zip_file_get_external_attributes(zip->zip, (zip_uint64_t) i, 0,
                                         &system, &attributes) == 0
        && system == ZIP_OPSYS_UNIX)
    {
        mode = (mode_t) (attributes >> 16);

        if (S_ISLNK(mode)) {
            *special = "a link";

        } else if ((mode & S_IFMT) && !S_ISREG(mode) && !S_ISDIR(mode)) {
            *special = "a device, a FIFO or a socket";
        }
    }

    return zip_get_name(zip->zip, (zip_uint64_t) i, ZIP_FL_ENC_GUESS);
}


int64_t
tf_zip_find(tf_zip_t *zip, const char *name)
{
    return zip_name_locate(zip->zip, name, ZIP_FL_ENC_UTF_8);
}


int
tf_zip_read(tf_zip_t *zip, int64_t i, tf_zip_pt piece, void *ctx)
{
    int            rc;
    char           data[32768];
    int64_t        packed, unpacked;
    zip_stat_t     st;
    zip_file_t    *file;
    zip_int64_t    n;
    tf_extract_t  *ex;

    ex = zip->ex;

    if (zip_stat_index(zip->zip, (zip_uint64_t) i, 0, &st) != 0) {
        return tf_extract_refuse(ex, "is damaged: a member cannot be found");
    }

    (void) snprintf(zip->name, sizeof(zip->name), "%s", st.name);
    tf_extract_printable(zip->name);

    if ((st.valid & ZIP_STAT_ENCRYPTION_METHOD)
        && st.encryption_method != ZIP_EM_NONE)
    {
        return tf_extract_refuse(ex, "is encrypted; save it without a "
                                 "password");
    }

    if ((st.valid & ZIP_STAT_COMP_METHOD) && st.comp_method != ZIP_CM_STORE
        && st.comp_method != ZIP_CM_DEFLATE)
    {
        return tf_extract_refuse(ex, "%s is packed with method %u; pack it "
                                 "with deflate, as zip does", zip->name,
                                 st.comp_method);
    }

    if ((st.valid & ZIP_STAT_SIZE)
        && st.size > (zip_uint64_t) ex->limits->v[TF_LIMIT_unpacked])
    {
        return tf_extract_limit(ex, TF_LIMIT_unpacked, "%s says that it "
                                "unpacks to %llu bytes", zip->name,
                                (unsigned long long) st.size);
    }

    packed = zip->size;
    if ((st.valid & ZIP_STAT_COMP_SIZE)
        && st.comp_size < (zip_uint64_t) packed)
    {
        packed = (int64_t) st.comp_size;
    }

    file = zip_fopen_index(zip->zip, (zip_uint64_t) i, 0);
    if (file == NULL) {
        return tf_extract_refuse(ex, "is damaged: %s: %s", zip->name,
                                 zip_strerror(zip->zip));
    }

    rc = 0;
    unpacked = 0;

    while (rc == 0) {
        n = zip_fread(file, data, sizeof(data));

        if (n <= 0) {
            if (n < 0) {
                rc = tf_extract_refuse(ex, "is damaged: %s does not unpack; "
                                       "pack or save it again", zip->name);
            }
            break;
        }

        unpacked += n;
        ex->unpacked += n;

        if (ex->unpacked > ex->limits->v[TF_LIMIT_unpacked]) {
            rc = tf_extract_limit(ex, TF_LIMIT_unpacked,
                                  "unpacks to more than %lld bytes",
                                  (long long) (ex->unpacked - n));

        } else if (unpacked > TF_MB
                   && unpacked > packed * ex->limits->v[TF_LIMIT_ratio])
        {
            rc = tf_extract_limit(ex, TF_LIMIT_ratio,
                                  "%s unpacks %lld bytes to more than %lld",
                                  zip->name, (long long) packed,
                                  (long long) (unpacked - n));

        } else if (tf_extract_late(ex) != 0) {
            rc = -1;

        } else {
            rc = piece(ctx, data, (size_t) n);
        }
    }

    (void) zip_fclose(file);

    return rc;
}


int
tf_zip_parse(tf_zip_t *zip, const char *name, tf_sax_handlers_t *handlers)
{
    int        rc;
    int64_t    i;
    tf_sax_t  *sax;

    i = tf_zip_find(zip, name);
    if (i < 0) {
        return 1;
    }

    sax = tf_sax_open(zip->ex, handlers);
    if (sax == NULL) {
        return tf_extract_refuse(zip->ex, "out of memory");
    }

    rc = tf_zip_read(zip, i, tf_zip_piece, sax);

    if (tf_sax_close(sax) != 0) {
        rc = -1;

    } else if (handlers->stop) {
        rc = zip->ex->said ? -1 : 0;
    }

    return rc;
}


static int
tf_zip_piece(void *ctx, const char *data, size_t len)
{
    return tf_sax_feed(ctx, data, len);
}
