#ifndef TF_CLI_DOCTOR_H
#define TF_CLI_DOCTOR_H


#include <stddef.h>

#include "base/conf.h"
#include "db/pg.h"
#include "queue/durability.h"


/*
 * Findings: what was looked at, what was found there and, unless it is as it
 * should be, what mends it.
 *
 * Each doctor_<area>.c looks at one area and adds its findings.  A store
 * that does not answer is one finding, and what would have to be asked there
 * is left out.
 */

typedef enum {
    TF_DOCTOR_OK,
    TF_DOCTOR_WARN,             /* works; a bad day would be worse */
    TF_DOCTOR_FAIL              /* does not work */
} tf_doctor_level_t;

typedef struct {
    tf_doctor_level_t   level;
    const char         *what;
    char               *found;
    const char         *mend;   /* NULL when it is OK */
} tf_finding_t;

typedef struct {
    const tf_conf_t    *conf;
    tf_finding_t       *list;
    size_t              n;
    tf_doctor_level_t   worst;
    char                where[16];  /* "shard 1: ", in front of what is found */
} tf_doctor_t;


/* what and mend are kept by reference. */
void tf_doctor_add(tf_doctor_t *d, tf_doctor_level_t level, const char *what,
    const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

void tf_doctor_free(tf_doctor_t *d);


void tf_doctor_keys(tf_doctor_t *d);
void tf_doctor_pg(tf_doctor_t *d);
void tf_doctor_redis(tf_doctor_t *d);
void tf_doctor_edge(tf_doctor_t *d);

/* Whether a store keeps what it accepts, as the configuration wants it. */
void tf_doctor_durability(tf_doctor_t *d, const tf_durability_t *found);

/* The difference of a clock to this host's; ms is what it shows. */
void tf_doctor_clock(tf_doctor_t *d, const char *what, int64_t ms);


#endif /* TF_CLI_DOCTOR_H */
