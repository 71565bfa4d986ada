#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


/*
 * What a power cut would leave of a program's files: preloaded (LD_PRELOAD)
 * into redis-server, this notes how long each file was when it was last
 * synced.
 *
 *   TF_POWER_JOURNAL   file to which the notes are appended
 *   TF_POWER_NOSYNC    if set, nothing is really synced (a test on a busy
 *                      disk need not wait: what counts is in the journal)
 *   TF_POWER_DELAY     ms that each sync takes longer
 *
 * A note is a line "<device> <inode> <length>"; the last one of an inode
 * counts.  A file is known by its inode, so a rename follows by itself.  The
 * length is taken before the sync and noted after it: what another thread
 * wrote meanwhile does not count.  A file that is created, emptied or
 * shortened is noted at once with what is left of it, so that the number of
 * an inode that is used again does not lend its length to a new file.
 *
 * Whoever cuts the power kills the program and then truncates each file to
 * its noted length, or to nothing when there is no note (Trifecta::Fault::
 * Power).  What stood before the last sync is taken to be as written: this
 * holds for files that are only appended to, as an append-only file is.
 */


typedef int      (*tf_power_sync_pt)(int fd);
typedef int      (*tf_power_open_pt)(const char *path, int flags, ...);
typedef int      (*tf_power_openat_pt)(int dir, const char *path, int flags,
                      ...);
typedef int      (*tf_power_truncate_pt)(int fd, off_t length);
typedef int      (*tf_power_shorten_pt)(const char *path, off_t length);
typedef FILE    *(*tf_power_fopen_pt)(const char *path, const char *mode);

/* what the programs' headers declare under these very names */
int    open64(const char *path, int flags, ...);
int    openat64(int dir, const char *path, int flags, ...);
int    ftruncate64(int fd, off_t length);
int    truncate64(const char *path, off_t length);
FILE  *fopen64(const char *path, const char *mode);


static void *
tf_power_real(const char *name)
{
    void  *fn;

    fn = dlsym(RTLD_NEXT, name);

    if (fn == NULL) {
        abort();
    }

    return fn;
}


static void
tf_power_note(const struct stat *st, off_t length)
{
    int          fd, n;
    char         line[128];
    const char  *journal;

    journal = getenv("TF_POWER_JOURNAL");

    if (journal == NULL || !S_ISREG(st->st_mode)) {
        return;
    }

    /* opened each time: the program closes descriptors that it did not open
     * when it forks a child */

    fd = ((tf_power_open_pt) tf_power_real("open"))(journal,
             O_WRONLY|O_APPEND|O_CREAT|O_CLOEXEC, 0600);

    if (fd == -1) {
        abort();
    }

    n = snprintf(line, sizeof(line), "%llu %llu %lld\n",
                 (unsigned long long) st->st_dev,
                 (unsigned long long) st->st_ino, (long long) length);

    if (write(fd, line, (size_t) n) != n) {
        abort();
    }

    (void) close(fd);
}


static int
tf_power_sync(int fd, const char *name)
{
    int          rc;
    const char  *delay;
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        return ((tf_power_sync_pt) tf_power_real(name))(fd);
    }

    delay = getenv("TF_POWER_DELAY");

    if (delay != NULL) {
        (void) usleep((useconds_t) atoi(delay) * 1000);
    }

    rc = getenv("TF_POWER_NOSYNC") != NULL
         ? 0 : ((tf_power_sync_pt) tf_power_real(name))(fd);

    if (rc == 0) {
        tf_power_note(&st, st.st_size);
    }

    return rc;
}


int
fsync(int fd)
{
    return tf_power_sync(fd, "fsync");
}


int
fdatasync(int fd)
{
    return tf_power_sync(fd, "fdatasync");
}


/* A new file has nothing synced, an old one has what the journal says. */

static int
tf_power_opened(int fd, int flags)
{
    struct stat  st;

    if (fd != -1 && (flags & (O_CREAT|O_TRUNC)) && fstat(fd, &st) == 0
        && st.st_size == 0)
    {
        tf_power_note(&st, 0);
    }

    return fd;
}


static mode_t
tf_power_mode(int flags, va_list args)
{
    return flags & (O_CREAT|O_TMPFILE) ? (mode_t) va_arg(args, int) : 0;
}


#define TF_POWER_OPEN(name)                                                   \
                                                                              \
int                                                                           \
name(const char *path, int flags, ...)                                        \
{                                                                             \
    mode_t   mode;                                                            \
    va_list  args;                                                            \
                                                                              \
    va_start(args, flags);                                                    \
    mode = tf_power_mode(flags, args);                                        \
    va_end(args);                                                             \
                                                                              \
    return tf_power_opened(((tf_power_open_pt)                                \
               tf_power_real(#name))(path, flags, mode), flags);              \
}

#define TF_POWER_OPENAT(name)                                                 \
                                                                              \
int                                                                           \
name(int dir, const char *path, int flags, ...)                               \
{                                                                             \
    mode_t   mode;                                                            \
    va_list  args;                                                            \
                                                                              \
    va_start(args, flags);                                                    \
    mode = tf_power_mode(flags, args);                                        \
    va_end(args);                                                             \
                                                                              \
    return tf_power_opened(((tf_power_openat_pt)                              \
               tf_power_real(#name))(dir, path, flags, mode), flags);         \
}

TF_POWER_OPEN(open)
TF_POWER_OPEN(open64)
TF_POWER_OPENAT(openat)
TF_POWER_OPENAT(openat64)


static FILE *
tf_power_fopened(FILE *fp)
{
    if (fp != NULL) {
        (void) tf_power_opened(fileno(fp), O_CREAT);
    }

    return fp;
}


FILE *
fopen(const char *path, const char *mode)
{
    return tf_power_fopened(((tf_power_fopen_pt)
                             tf_power_real("fopen"))(path, mode));
}


FILE *
fopen64(const char *path, const char *mode)
{
    return tf_power_fopened(((tf_power_fopen_pt)
                             tf_power_real("fopen64"))(path, mode));
}


/* A file that was shortened is as long as that, whatever was synced before;
 * that the disk has it so is taken for granted. */

static int
tf_power_truncate(int fd, off_t length, const char *name)
{
    int          rc;
    struct stat  before;

    if (fstat(fd, &before) == -1) {
        return -1;
    }

    rc = ((tf_power_truncate_pt) tf_power_real(name))(fd, length);

    if (rc == 0 && length < before.st_size) {
        tf_power_note(&before, length);
    }

    return rc;
}


int
ftruncate(int fd, off_t length)
{
    return tf_power_truncate(fd, length, "ftruncate");
}


int
ftruncate64(int fd, off_t length)
{
    return tf_power_truncate(fd, length, "ftruncate64");
}


static int
tf_power_shorten(const char *path, off_t length, const char *name)
{
    int          rc;
    struct stat  before;

    if (stat(path, &before) == -1) {
        return -1;
    }

    rc = ((tf_power_shorten_pt) tf_power_real(name))(path, length);

    if (rc == 0 && length < before.st_size) {
        tf_power_note(&before, length);
    }

    return rc;
}


int
truncate(const char *path, off_t length)
{
    return tf_power_shorten(path, length, "truncate");
}


int
truncate64(const char *path, off_t length)
{
    return tf_power_shorten(path, length, "truncate64");
}
