#ifndef TF_FAULT_H
#define TF_FAULT_H


/*
 * Crash points: named moments of both programs at which a test makes a
 * process die, stand still or hesitate.
 *
 * A point lies between two steps that are durable somewhere, where one store
 * has heard of the first and nobody of the second.  Each row of the table is
 *   X(program, step, moment, what has happened at that moment)
 * and its name is "step.moment".  The code says tf_fault(step, moment); a
 * name that is not in the table does not compile.  The program is EDGE (nginx
 * with the module) or SIDECAR.
 *
 * TRIFECTA_FAULT arms one point of a process:
 *   point[:n][=kill|stop|sleep<ms>]
 * At its n-th passage (the first, if n is not given) the process kills itself
 * with SIGKILL, or stops itself with SIGSTOP, or its thread sleeps for so many
 * ms; it says so on its standard error first.  Only that passage counts: one
 * that was continued or woke up goes on as if nothing was.  The passages are
 * those of all threads, and in nginx of all workers together since its start
 * or reload, so that the worker that takes the place of a dead one lives.
 *
 * Both programs may have the same environment: the name of a point of the
 * other one arms nothing.  A name that does not exist, or a number or an
 * action that is none, ends the program before it does anything.  With
 * TRIFECTA_FAULT=list the sidecar's program prints the table and leaves.
 *
 * All of it exists where TF_FAULTS is defined, in builds for tests.  In a
 * release nothing is left, not even a name.
 */

#ifdef TF_FAULTS


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


/*
 * Rows that belong together stand in the order in which they are passed.  Two
 * places count on it: return.c takes the three of finish, release and retry
 * by how a job goes back, store_ledger.c those of the ledger by its statement.
 */

#define TF_FAULT_POINTS(X)                                                    \
    X(EDGE, submit, before, "checked, nothing of it has left for Redis")      \
    X(EDGE, submit, sent, "sent to Redis, no reply was read")                 \
    X(EDGE, submit, answered, "Redis has it, nobody has told the client")     \
    X(EDGE, durable, waits, "Redis has it, the answer waits for PostgreSQL")  \
    X(EDGE, durable, committed, "PostgreSQL has it, the client waits")        \
    X(EDGE, cancel, before, "nothing of it has left for Redis")               \
    X(EDGE, cancel, sent, "sent to Redis, no reply was read")                 \
    X(EDGE, cancel, answered, "Redis has stopped it, the client waits")       \
    X(EDGE, delete, before, "looked for, nothing of it has left for Redis")   \
    X(EDGE, delete, sent, "sent to Redis, no reply was read")                 \
    X(EDGE, delete, answered, "Redis has erased it, the client waits")        \
    X(SIDECAR, claim, answered, "Redis handed jobs out, none is held yet")    \
    X(SIDECAR, claim, held, "claimed jobs are held and wait to be begun")     \
    X(SIDECAR, reclaim, answered, "jobs were taken over, none is held yet")   \
    X(SIDECAR, pump, answered, "delayed jobs have gone on to their stream")   \
    X(SIDECAR, begin, before, "a batch was taken, nothing was sent")          \
    X(SIDECAR, begin, sent, "sent to PostgreSQL, no answer was read")         \
    X(SIDECAR, begin, committed, "PostgreSQL has attempts, Redis has not")    \
    X(SIDECAR, relet, answered, "Redis has a new lease, no row has it")       \
    X(SIDECAR, started, sent, "attempts sent to Redis, no reply was read")    \
    X(SIDECAR, started, answered, "both stores have it, nothing has run")     \
    X(SIDECAR, run, before, "a thread has taken the job")                     \
    X(SIDECAR, emit, before, "pieces of an answer are about to be told")      \
    X(SIDECAR, emit, sent, "told to Redis, no reply was read")                \
    X(SIDECAR, run, after, "the work is done, nobody knows what came of it")  \
    X(SIDECAR, complete, before, "a batch of ends was taken, nothing sent")   \
    X(SIDECAR, complete, sent, "ends sent to PostgreSQL, no answer read")     \
    X(SIDECAR, complete, committed, "the results are stored, Redis not told") \
    X(SIDECAR, finish, before, "an end is about to be told to Redis")         \
    X(SIDECAR, finish, sent, "ends sent to Redis, no reply was read")         \
    X(SIDECAR, finish, answered, "Redis has the end, the job is still held")  \
    X(SIDECAR, release, before, "a job is about to be given back")            \
    X(SIDECAR, release, sent, "given back to Redis, no reply was read")       \
    X(SIDECAR, release, answered, "Redis has it back, it is still held")      \
    X(SIDECAR, retry, before, "a job is about to be put off")                 \
    X(SIDECAR, retry, sent, "put off, no reply was read")                     \
    X(SIDECAR, retry, answered, "Redis has put it off, it is still held")     \
    X(SIDECAR, ledger, read, "entries were read, nothing of them is stored")  \
    X(SIDECAR, ledger, gathered, "the entries' jobs were read from Redis")    \
    X(SIDECAR, ledger, new, "the new ones have rows")                         \
    X(SIDECAR, ledger, expired, "the expired ones, too, have ended")          \
    X(SIDECAR, ledger, cancelled, "and the cancelled ones")                   \
    X(SIDECAR, ledger, relogged, "and those that PostgreSQL had forgotten")   \
    X(SIDECAR, ledger, damaged, "and the damaged ones")                       \
    X(SIDECAR, ledger, closed, "and the deleted ones, which are not erased")  \
    X(SIDECAR, ledger, erased, "all is committed, the entries are still there")\
    X(SIDECAR, ledger, answered, "the entries are acknowledged and gone")     \
    X(SIDECAR, heart, before, "leases are about to be prolonged")             \
    X(SIDECAR, heart, answered, "they are, and what it said is not noted")    \
    X(SIDECAR, cancel, heard, "the channel told of a cancel, the job runs on")\
    X(SIDECAR, cancel, beaten, "the heartbeat did, the job runs on")          \
    X(SIDECAR, rebuild, numbered, "PostgreSQL gave an epoch, Redis has not it")\
    X(SIDECAR, rebuild, begun, "nothing is accepted, nothing is back yet")    \
    X(SIDECAR, rebuild, restored, "open rows are back in Redis")              \
    X(SIDECAR, rebuild, settled, "what had ended in PostgreSQL has ended")    \
    X(SIDECAR, rebuild, forgotten, "and what PostgreSQL forgot is told again")\
    X(SIDECAR, rebuild, keyed, "idempotency keys are back, nothing accepted") \
    X(SIDECAR, rebuild, marked, "both have a new mark, nobody has adopted")   \
    X(SIDECAR, rebuild, adopted, "the queue is adopted, the lock still held") \
    X(SIDECAR, reconcile, begun, "the lock is taken, the mark is made")       \
    X(SIDECAR, reconcile, rows, "open rows were compared")                    \
    X(SIDECAR, reconcile, live, "open jobs of Redis were compared")           \
    X(SIDECAR, reconcile, strays, "what was damaged was mended, all is done") \
    X(SIDECAR, days, made, "the partitions of the next days are there")       \
    X(SIDECAR, prune, begun, "the lock is taken, all that is old is there")   \
    X(SIDECAR, prune, dropped, "an old partition has gone, others are there") \
    X(SIDECAR, prune, rows, "old rows of a partition that stays have gone")   \
    X(SIDECAR, prune, done, "nothing old is left, no cache was told")         \
    X(SIDECAR, prune, told, "the caches were told, the lock still held")      \
    X(SIDECAR, batch, made, "lines have become jobs, Redis has none of them") \
    X(SIDECAR, batch, put, "Redis has them, too")                             \
    X(SIDECAR, batch, noted, "lines whose jobs ended have, the batch goes on")\
    X(SIDECAR, batch, final, "every line has ended, the files are not there") \
    X(SIDECAR, batch, closed, "the batch has ended, its files are there")     \
    X(SIDECAR, batch, gone, "a part of what a deleted file left has gone")    \
    X(SIDECAR, drain, begun, "claiming has stopped, jobs are still held")     \
    X(SIDECAR, drain, stopped, "what has not ended was told to stop")         \
    X(SIDECAR, drain, empty, "nothing is held, the threads still run")


/* The table as numbers, names and programs. */

typedef enum {
    TF_FAULT_EDGE,
    TF_FAULT_SIDECAR
} tf_fault_program_t;

typedef enum {
#define TF_FAULT_ENUM(program, step, moment, what)  TF_FAULT_##step##_##moment,
    TF_FAULT_POINTS(TF_FAULT_ENUM)
#undef TF_FAULT_ENUM
    TF_FAULT_NPOINTS
} tf_fault_point_t;

typedef enum {
    TF_FAULT_KILL,
    TF_FAULT_STOP,
    TF_FAULT_SLEEP
} tf_fault_action_t;

/* What TRIFECTA_FAULT says; nothing is armed when point is NPOINTS. */

typedef struct {
    tf_fault_point_t    point;
    unsigned long       nth;
    tf_fault_action_t   action;
    unsigned long       ms;
} tf_fault_t;

typedef struct {
    const char         *name;
    tf_fault_program_t  program;
    const char         *what;
} tf_fault_row_t;


static inline const tf_fault_row_t *
tf_fault_row(unsigned point)
{
    static const tf_fault_row_t  rows[] = {
#define TF_FAULT_ROW(program, step, moment, what)                             \
        { #step "." #moment, TF_FAULT_##program, what },
        TF_FAULT_POINTS(TF_FAULT_ROW)
#undef TF_FAULT_ROW
    };

    return &rows[point];
}


static inline void
tf_fault_list(FILE *out)
{
    unsigned               i;
    const tf_fault_row_t  *row;

    for (i = 0; i < TF_FAULT_NPOINTS; i++) {
        row = tf_fault_row(i);
        (void) fprintf(out, "%s\t%s\t%s\n", row->name,
                       row->program == TF_FAULT_EDGE ? "edge" : "sidecar",
                       row->what);
    }
}


/* A number up to a million that ends at *end; 0 is none. */

static inline unsigned long
tf_fault_number(const char *p, const char **end)
{
    unsigned long  n;

    for (n = 0; *p >= '0' && *p <= '9' && n <= 1000000; p++) {
        n = n * 10 + (unsigned long) (*p - '0');
    }

    *end = p;

    return n <= 1000000 ? n : 0;
}


/*
 * Reads the text of TRIFECTA_FAULT (NULL or "" arms nothing).  NULL, or what
 * is wrong with it.
 */

static inline const char *
tf_fault_parse(tf_fault_t *fault, const char *text)
{
    size_t       len;
    unsigned     i;
    const char  *p;

    fault->point = TF_FAULT_NPOINTS;
    fault->nth = 1;
    fault->action = TF_FAULT_KILL;
    fault->ms = 0;

    if (text == NULL || *text == '\0') {
        return NULL;
    }

    len = strcspn(text, ":=");

    for (i = 0; i < TF_FAULT_NPOINTS; i++) {
        if (strlen(tf_fault_row(i)->name) == len
            && strncmp(tf_fault_row(i)->name, text, len) == 0)
        {
            break;
        }
    }

    if (i == TF_FAULT_NPOINTS) {
        return "there is no such crash point, TRIFECTA_FAULT=list trifecta "
               "lists them";
    }

    p = text + len;

    if (*p == ':') {
        fault->nth = tf_fault_number(p + 1, &p);

        if (fault->nth == 0 || (*p != '=' && *p != '\0')) {
            return "the passage after \":\" must be a number from 1 to "
                   "1000000";
        }
    }

    if (*p == '=') {
        p++;

        if (strcmp(p, "stop") == 0) {
            fault->action = TF_FAULT_STOP;

        } else if (strncmp(p, "sleep", 5) == 0) {
            fault->action = TF_FAULT_SLEEP;
            fault->ms = tf_fault_number(p + 5, &p);

            if (fault->ms == 0 || *p != '\0') {
                return "\"sleep\" must be followed by ms, from 1 to 1000000";
            }

        } else if (strcmp(p, "kill") != 0) {
            return "the action after \"=\" must be kill, stop or sleep<ms>";
        }
    }

    fault->point = (tf_fault_point_t) i;

    return NULL;
}


/* It is the passage: what happens, happens here. */

static inline void
tf_fault_act(const tf_fault_t *fault)
{
    struct timespec  ts;

    static const char *const  actions[] = { "kill", "stop", "sleep" };

    (void) dprintf(STDERR_FILENO, "crash point %s, passage %lu of process "
                   "%ld: %s\n", tf_fault_row(fault->point)->name, fault->nth,
                   (long) getpid(), actions[fault->action]);

    switch (fault->action) {

    case TF_FAULT_KILL:
        (void) kill(getpid(), SIGKILL);
        for ( ;; ) {
            (void) pause();
        }
        break;

    case TF_FAULT_STOP:
        /* to this thread, or it would go on until another one has seen it */
        (void) raise(SIGSTOP);
        break;

    case TF_FAULT_SLEEP:
        ts.tv_sec = (time_t) (fault->ms / 1000);
        ts.tv_nsec = (long) (fault->ms % 1000) * 1000000;

        while (nanosleep(&ts, &ts) == -1 && errno == EINTR) {
            /* void */
        }
        break;
    }
}


/*
 * The sidecar's (sidecar/base/fault.c).  start() comes first of all in main();
 * at() is for code that takes several steps alike: the point that lies so many
 * rows behind the named one.
 *
 * A moment "sent" comes inside a call that sends and waits.  The handle of the
 * connection (tf_pg_t, tf_redis_t) has a member "fault" for it: expect() sets
 * it before the call, connecting first, because a connection begins with
 * calls of its own; and where the last byte has gone to the socket the handle
 * passes it, once.
 */

void tf_fault_start(void);
void tf_fault_pass(unsigned point);

#define tf_fault(step, moment)  tf_fault_pass(TF_FAULT_##step##_##moment)

#define tf_fault_at(step, moment, rows)                                       \
    tf_fault_pass(TF_FAULT_##step##_##moment + (unsigned) (rows))

#define tf_fault_expect(kind, handle, step)                                   \
    tf_fault_expect_at(kind, handle, step, 0)

#define tf_fault_expect_at(kind, handle, step, rows)                          \
    if (tf_##kind##_connect(handle) == 0) {                                   \
        (handle)->fault = TF_FAULT_##step##_sent + 1 + (unsigned) (rows);     \
    }

#define tf_fault_sent(handle)                                                 \
    if ((handle)->fault) {                                                    \
        tf_fault_pass((handle)->fault - 1);                                   \
        (handle)->fault = 0;                                                  \
    }


#else

#define tf_fault_start()                              ((void) 0)
#define tf_fault(step, moment)                        ((void) 0)
#define tf_fault_at(step, moment, rows)               ((void) 0)
#define tf_fault_expect(kind, handle, step)           ((void) 0)
#define tf_fault_expect_at(kind, handle, step, rows)  ((void) 0)
#define tf_fault_sent(handle)                         ((void) 0)

#endif /* TF_FAULTS */


#endif /* TF_FAULT_H */
