#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extract/extract.h"
#include "rag/group.h"


tf_ingest_t
tf_rag_read(const tf_limits_t *limits, const char *path, const char *source,
    char **bytes, size_t *length, char *err, size_t errlen)
{
    int           fd;
    char         *data, head[512];
    size_t        len;
    ssize_t       n;
    int64_t       max;
    struct stat   st;

    /* a FIFO must not hold the ingest, and what is checked is what is read */

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_NOCTTY);

    if (fd == -1 || fstat(fd, &st) == -1) {
        (void) snprintf(err, errlen, "cannot read: %s", strerror(errno));
        if (fd != -1) {
            (void) close(fd);
        }
        return TF_INGEST_REFUSED;
    }

    if (!S_ISREG(st.st_mode)) {
        (void) snprintf(err, errlen, "not a regular file");
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    max = limits->v[TF_LIMIT_file];

    if (tf_extract_format(source) == NULL) {
        n = pread(fd, head, sizeof(head), 0);

        if (n <= 0 || tf_extract_sniff(source, head, (size_t) n) == NULL) {
            (void) snprintf(err, errlen, "not a known format (%s)",
                            tf_extract_formats());
            (void) close(fd);
            return TF_INGEST_OTHER;
        }
    }

    if (st.st_size > max) {
        (void) snprintf(err, errlen, "larger than %lld MB (limit %s); %s, or "
                        "raise it: --limit file=...", (long long) (max / TF_MB),
                        tf_limit_print(limits, TF_LIMIT_file, head,
                                       sizeof(head)),
                        tf_limit_help(TF_LIMIT_file));
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    data = malloc((size_t) st.st_size + 1);
    if (data == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        (void) close(fd);
        return TF_INGEST_REFUSED;
    }

    for (len = 0; len < (size_t) st.st_size; len += (size_t) n) {
        n = read(fd, data + len, (size_t) st.st_size - len);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            (void) snprintf(err, errlen, "cannot read: %s", strerror(errno));
            (void) close(fd);
            free(data);
            return TF_INGEST_REFUSED;
        }

        if (n == 0) {
            break;
        }
    }

    (void) close(fd);
    data[len] = '\0';

    *bytes = data;
    *length = len;

    return TF_INGEST_NEW;
}
