#define _GNU_SOURCE     /* memfd_create(), pipe2(), execvpe() */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "extract/child.h"


#define TF_CHILD_FILES  16
#define TF_CHILD_NONE   127     /* as a shell says that there is no program */

static int tf_child_input(const tf_child_t *child);
static void tf_child_exec(const tf_child_t *child, int in, int out, int err,
    pid_t parent) __attribute__((noreturn));
static tf_child_end_t tf_child_listen(tf_child_t *child, int out, int err,
    tf_buf_t *text);
static int tf_child_read(int *fd, char *piece, size_t size, size_t *n);
static void tf_child_limit(int resource, int64_t value);


tf_child_end_t
tf_child_run(tf_child_t *child, tf_buf_t *text)
{
    int              in, out[2] = { -1, -1 }, err[2] = { -1, -1 }, status;
    pid_t            pid, parent;
    tf_child_end_t   end;

    end = TF_CHILD_FAILED;
    child->status = 0;
    child->said[0] = '\0';

    in = tf_child_input(child);

    if (in == -1 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        goto done;
    }

    parent = getpid();
    pid = fork();

    if (pid == -1) {
        goto done;
    }

    if (pid == 0) {
        tf_child_exec(child, in, out[1], err[1], parent);
    }

    /* both sides do it, so that it is done whoever comes first */

    (void) setpgid(pid, pid);

    (void) close(out[1]);
    (void) close(err[1]);
    out[1] = -1;
    err[1] = -1;

    end = tf_child_listen(child, out[0], err[0], text);

    if (end != TF_CHILD_OK) {
        (void) kill(-pid, SIGKILL);
    }

    while (waitpid(pid, &status, 0) == -1) {
        if (errno != EINTR) {
            status = 0;
            break;
        }
    }

    /* who is left of its group has nothing more to say */

    (void) kill(-pid, SIGKILL);

    if (end == TF_CHILD_OK && status != 0) {
        child->status = WIFEXITED(status) ? WEXITSTATUS(status)
                                          : 128 + WTERMSIG(status);

        /* one that has said why was there, and had not enough memory */

        end = child->status == TF_CHILD_NONE && child->said[0] == '\0'
              ? TF_CHILD_MISSING
              : child->status == 128 + SIGXCPU ? TF_CHILD_LATE
              : TF_CHILD_EXIT;
    }

done:

    if (in != -1) {
        (void) close(in);
    }

    for (status = 0; status < 2; status++) {
        if (out[status] != -1) {
            (void) close(out[status]);
        }
        if (err[status] != -1) {
            (void) close(err[status]);
        }
    }

    return end;
}


/* The data as a file without a name: what reads it may seek. */

static int
tf_child_input(const tf_child_t *child)
{
    int      fd;
    size_t   done;
    ssize_t  n;

    fd = memfd_create("document", MFD_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    for (done = 0; done < child->len; done += (size_t) n) {
        n = write(fd, child->data + done, child->len - done);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            (void) close(fd);
            return -1;
        }
    }

    if (lseek(fd, 0, SEEK_SET) == -1) {
        (void) close(fd);
        return -1;
    }

    return fd;
}


/*
 * In the child, of a process with threads: only what is safe after a signal,
 * too.
 */

static void
tf_child_exec(const tf_child_t *child, int in, int out, int err, pid_t parent)
{
    int                fd;
    int64_t            seconds;
    static char *const  env[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
                                  "LC_ALL=C.UTF-8", NULL };
    static const int    signals[] = { SIGPIPE, SIGTERM, SIGINT, SIGHUP,
                                      SIGXCPU, SIGXFSZ };
    sigset_t            none;

    (void) setpgid(0, 0);

    /* a sidecar that is killed takes it along */

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }

    (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

    for (fd = 0; fd < (int) (sizeof(signals) / sizeof(signals[0])); fd++) {
        (void) signal(signals[fd], SIG_DFL);
    }

    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    if (dup2(in, STDIN_FILENO) == -1 || dup2(out, STDOUT_FILENO) == -1
        || dup2(err, STDERR_FILENO) == -1)
    {
        _exit(1);
    }

    /* ours are all close-on-exec; libraries forget it at times */

    if (close_range(3, ~0U, 0) == -1) {
        for (fd = 3; fd < 1024; fd++) {
            (void) close(fd);
        }
    }

    seconds = (child->deadline - tf_clock_ms()) / 1000 + 1;

    tf_child_limit(RLIMIT_CPU, seconds > 0 ? seconds : 1);
    tf_child_limit(RLIMIT_AS, child->memory);
    tf_child_limit(RLIMIT_FSIZE, 0);
    tf_child_limit(RLIMIT_CORE, 0);
    tf_child_limit(RLIMIT_NOFILE, TF_CHILD_FILES);

    if (chdir("/") == 0) {
        (void) execvpe(child->argv[0], (char *const *) child->argv, env);
    }

    _exit(TF_CHILD_NONE);
}


static void
tf_child_limit(int resource, int64_t value)
{
    struct rlimit  limit;

    limit.rlim_cur = (rlim_t) value;
    limit.rlim_max = (rlim_t) value;

    (void) setrlimit(resource, &limit);
}


/* Until both pipes are closed; OK then. */

static tf_child_end_t
tf_child_listen(tf_child_t *child, int out, int err, tf_buf_t *text)
{
    int             i;
    char            piece[16384];
    size_t          n, said, room;
    int64_t         left;
    struct pollfd   fds[2];

    fds[0].fd = out;
    fds[0].events = POLLIN;
    fds[1].fd = err;
    fds[1].events = POLLIN;
    said = 0;

    while (fds[0].fd != -1 || fds[1].fd != -1) {
        left = child->deadline - tf_clock_ms();

        if (left <= 0) {
            return TF_CHILD_LATE;
        }

        if (poll(fds, 2, left < 1000 ? (int) left : 1000) == -1
            && errno != EINTR)
        {
            return TF_CHILD_FAILED;
        }

        for (i = 0; i < 2; i++) {
            if (fds[i].fd == -1 || fds[i].revents == 0
                || tf_child_read(&fds[i].fd, piece, sizeof(piece), &n) != 0)
            {
                continue;
            }

            if (i == 0) {
                if ((int64_t) (text->len + n) > child->output) {
                    return TF_CHILD_LONG;
                }

                tf_buf_append(text, piece, n);
                continue;
            }

            /* the rest of what it complains of is read and dropped */

            room = sizeof(child->said) - 1 - said;
            n = n < room ? n : room;
            memcpy(child->said + said, piece, n);
            said += n;
            child->said[said] = '\0';
        }
    }

    child->said[strcspn(child->said, "\n")] = '\0';

    return TF_CHILD_OK;
}


/* 0 with bytes; at the end the descriptor is forgotten. */

static int
tf_child_read(int *fd, char *piece, size_t size, size_t *n)
{
    ssize_t  rc;

    rc = read(*fd, piece, size);

    if (rc > 0) {
        *n = (size_t) rc;
        return 0;
    }

    if (rc == 0 || errno != EINTR) {
        *fd = -1;
    }

    return -1;
}
