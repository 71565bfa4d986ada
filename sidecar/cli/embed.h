#ifndef TF_CLI_EMBED_H
#define TF_CLI_EMBED_H


#include "cli/cli.h"
#include "db/pg.h"
#include "llm/models.h"


/*
 * "trifecta embed": a table of commands in embed.c; embed_change.c has those
 * that make, switch and remove sets, embed_show.c says how far they are.
 *
 * All of it is done as the role trifecta_rag, in the name of an operator of
 * the tenant: row-level security leaves other tenants out.
 */

#define TF_EMBED_OPERATOR  "cli:operator"
#define TF_EMBED_CLI_MS    60000

typedef struct {
    const tf_cli_t     *cli;
    const tf_conf_t    *conf;
    tf_pg_t             pg;
    const char         *tenant;
    const char         *model;
    const char         *collection;
    unsigned            parts;
    int                 set;        /* 0: not given */
    int                 json;
    int                 force;
    int                 wait;
} tf_cli_embed_t;


/* Each is a command; it returns an exit code. */
int tf_cli_embed_create(tf_cli_embed_t *e);
int tf_cli_embed_run(tf_cli_embed_t *e);
int tf_cli_embed_status(tf_cli_embed_t *e);
int tf_cli_embed_switch(tf_cli_embed_t *e);
int tf_cli_embed_retire(tf_cli_embed_t *e);
int tf_cli_embed_delete(tf_cli_embed_t *e);

/* Begins the transaction of the operator: 0, or an exit code. */
int tf_cli_embed_begin(tf_cli_embed_t *e);

/*
 * A statement of it.  NULL with the error said and the transaction ended;
 * "lock" is a statement that may find its table in use.
 */
PGresult *tf_cli_embed_query(tf_cli_embed_t *e, const char *sql, int n,
    const char *const *params);

int tf_cli_embed_store(tf_cli_embed_t *e);

/* Waits until the set lacks nothing, and shows how far it is. */
int tf_cli_embed_wait(tf_cli_embed_t *e, int set);


#endif /* TF_CLI_EMBED_H */
