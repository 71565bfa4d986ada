/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#define _GNU_SOURCE     /* memfd_create() */

#include <sys/mman.h>
#include <unistd.h>

#include "extract/archive.h"
#include "fuzz_text.h"


/*
 * Containers: the first byte chooses what the bytes are said to be, an office
 * file or an archive.  A member that comes out has a path that stays inside.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static int
member(void *ctx, const char *path, const char *data, size_t len)
{
    const char  *s;

    (void) ctx;

    if (path[0] == '/' || path[0] == '\0'
        || tf_utf8_valid(path, strlen(path)) != strlen(path)
        || (int64_t) len > TF_MB)
    {
        abort();
    }

    for (s = path; s != NULL; s = strchr(s, '/')) {
        s += (*s == '/');
        if (strncmp(s, "../", 3) == 0 || strcmp(s, "..") == 0) {
            abort();
        }
    }

    if (data != NULL && len && memchr(data, 'x', len) == data) {
        fuzz_extract(path, (const uint8_t *) data, len);
    }

    return 0;
}


static void
skipped(void *ctx, const char *path, const char *why)
{
    (void) ctx;
    (void) path;

    if (why[0] == '\0') {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                    fd;
    char                   err[400];
    tf_limits_t            limits;
    tf_archive_handlers_t  handlers;
    static const char     *names[] = { "a.docx", "a.odt", "a.pptx", "a.xlsx",
                                       "a.zip", "a.tar", "a.tar.gz" };
    const char            *name;

    if (size == 0) {
        return 0;
    }

    name = names[data[0] % 7];
    data++;
    size--;

    if (!tf_archive_is(name)) {
        fuzz_extract(name, data, size);
        return 0;
    }

    tf_limits_default(&limits);
    limits.v[TF_LIMIT_file] = TF_MB;
    limits.v[TF_LIMIT_unpacked] = 16 * TF_MB;
    limits.v[TF_LIMIT_members] = 100;

    handlers.member = member;
    handlers.skipped = skipped;
    handlers.ctx = NULL;

    fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd == -1 || write(fd, data, size) != (ssize_t) size) {
        abort();
    }

    err[0] = '\0';

    if (tf_archive_read(&limits, name, fd, (int64_t) size, &handlers, err,
                        sizeof(err)) != 0 && err[0] == '\0')
    {
        abort();
    }

    (void) close(fd);

    return 0;
}
