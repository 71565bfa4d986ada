#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/version.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/epoch.h"
#include "db/migrate.h"
#include "db/roles.h"


/*
 * Prepares both stores, or brings them to this release: roles and schema,
 * the SQL files, the Redis functions, and a queue that both stores agree
 * about.  Every step looks first at what is there, so a second run does
 * nothing.
 */

static const tf_cli_option_t  tf_migrate_options[] = {
    { "dry-run", 'd', NULL, "say what would be done, change nothing" },
    { "wait", 'w', "TIME",
      "how long to wait for another migrate (default 60s)" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_migrate_usage = {
    "migrate", "",
    "Prepares PostgreSQL (roles, extension, schema, tables) and Redis (the\n"
    "function library, the queue), or updates them. It connects to\n"
    "pg_admin_url; what that user may not do is printed on stdout as a psql\n"
    "script for an administrator, and the exit code is 1. A Redis that was\n"
    "emptied, restarted or replaced gets back the open jobs that PostgreSQL\n"
    "knows; a running sidecar does the same by itself. Safe to run again.\n",
    tf_migrate_options,
    "  0  both stores are as this release needs them\n"
    "  1  they are not: it says why and what to do\n"
    "  2  wrong use\n",
    "  trifecta migrate\n"
    "  trifecta migrate --dry-run\n"
    "  trifecta migrate > admin.sql    # when rights are missing\n"
};

typedef struct {
    const tf_cli_t   *cli;
    const tf_conf_t  *conf;
    tf_epoch_t        epoch;
    int64_t           wait;
    tf_pg_t           pg;
    int               unprepared;   /* dry run: preconditions are missing */
    const char       *script;       /* what is being applied, or NULL */
    int64_t           begun;        /* script: when, */
    int64_t           tell;         /* and when the user is to hear of it */
} tf_migrate_t;


/* A large table may be written anew for an hour: ever more rarely. */

static void
tf_migrate_tell(void *data)
{
    int64_t        took;
    tf_migrate_t  *m = data;

    took = tf_clock_ms() - m->begun;

    if (m->script == NULL || took < m->tell) {
        return;
    }

    m->tell = (took < 600000) ? 2 * took : took + 600000;

    (void) fprintf(stderr, "%s is being applied, for %lld seconds so far\n",
                   m->script, (long long) took / 1000);
}


static void
tf_migrate_hint(const tf_cli_t *cli, const tf_pg_t *pg)
{
    (void) tf_cli_error(cli, "%s", pg->err);

    if (strstr(pg->err, "database") != NULL
        && strstr(pg->err, "not exist") != NULL)
    {
        (void) fprintf(stderr, "Create it first, as an administrator: "
                       "CREATE DATABASE <name>; (or correct pg_admin_url)\n");
        return;
    }

    (void) fprintf(stderr, "migrate connects to pg_admin_url (else pg_url) "
                   "with the password in pg_admin_password_file.\n");
}


static int
tf_migrate_connect(tf_migrate_t *m)
{
    char       err[TF_MIGRATE_ERR];
    PGresult  *res;

    if (tf_pg_connect(&m->pg) != TF_PG_OK) {
        tf_migrate_hint(m->cli, &m->pg);
        return -1;
    }

    if (PQserverVersion(m->pg.conn) < 130000) {
        (void) tf_cli_error(m->cli, "PostgreSQL 13 or newer is needed, this "
                            "is %d", PQserverVersion(m->pg.conn) / 10000);
        return -1;
    }

    if (tf_pg_query(&m->pg, &res, 0, "SELECT current_user, "
                    "current_user IN ('trifecta_owner', 'trifecta_queue', "
                    "'trifecta_rag', 'trifecta_edge'), "
                    "set_config('client_min_messages', 'warning', false)",
                    0, NULL)
        != TF_PG_OK)
    {
        tf_migrate_hint(m->cli, &m->pg);
        return -1;
    }

    if (PQgetvalue(res, 0, 1)[0] == 't') {
        (void) tf_cli_error(m->cli, "pg_admin_url must name the user of an "
                            "administrator, not %s, which migrate makes and "
                            "restricts", PQgetvalue(res, 0, 0));
        PQclear(res);
        return -1;
    }

    PQclear(res);

    if (!m->epoch.dry_run && tf_migrate_lock(&m->pg, m->wait, err) != 0) {
        (void) tf_cli_error(m->cli, "%s", err);
        return -1;
    }

    return 0;
}


static int
tf_migrate_rights(tf_migrate_t *m, const tf_role_steps_t *steps)
{
    size_t  i;

    if (m->epoch.dry_run) {
        for (i = 0; i < steps->n; i++) {
            (void) printf("would run %s\n", steps->list[i].sql);
        }

        m->unprepared = steps->n > 0;
        return 0;
    }

    if (steps->n == 0) {
        return 0;
    }

    (void) tf_cli_error(m->cli, "the user \"%s\" may not do everything that "
                        "is needed. The script on stdout is for an "
                        "administrator; then run migrate again.",
                        PQuser(m->pg.conn));
    tf_roles_print(steps, &m->pg, stdout);

    return -1;
}


/* Roles, extension, schema; what may not be done becomes the script. */

static int
tf_migrate_prepare(tf_migrate_t *m)
{
    int              rc, down;
    tf_role_steps_t  steps;

    memset(&steps, 0, sizeof(tf_role_steps_t));

    down = tf_roles_check(&steps, &m->pg, 1) != 0
           || (!m->epoch.dry_run
               && tf_roles_mend(&steps, &m->pg, stderr) != 0)
           || tf_roles_check_logins(&steps, &m->pg) != 0
           || (!m->epoch.dry_run
               && tf_roles_mend(&steps, &m->pg, stderr) != 0);

    if (!down && !m->epoch.dry_run && steps.n == 0) {
        down = tf_roles_check_logins(&steps, &m->pg) != 0;

        if (!down && steps.n > 0) {
            (void) tf_cli_error(m->cli, "%s\nThe password was set; "
                                "pg_hba.conf may not let that role in.",
                                m->pg.err);
            tf_roles_free(&steps);
            return -1;
        }
    }

    if (down) {
        (void) tf_cli_error(m->cli, "%s", m->pg.err);
        rc = -1;

    } else {
        rc = tf_migrate_rights(m, &steps);
    }

    tf_roles_free(&steps);

    return rc;
}


static int
tf_migrate_files(tf_migrate_t *m, const tf_migrations_t *files)
{
    int            rc;
    char           err[TF_MIGRATE_ERR];
    long           next;
    tf_history_t   history;

    if (!m->unprepared
        && tf_pg_exec(&m->pg, 0, "SET ROLE trifecta_owner") != TF_PG_OK)
    {
        (void) tf_cli_error(m->cli, "cannot take the role of the owner: %s",
                            m->pg.err);
        return -1;
    }

    if (tf_history_read(&history, &m->pg, err) != 0) {
        (void) tf_cli_error(m->cli, "%s", err);
        return -1;
    }

    rc = -1;

    next = tf_migrate_plan(files, &history, err);
    if (next == -1) {
        goto failed;
    }

    if (!m->epoch.dry_run && tf_history_create(&m->pg, err) != 0) {
        goto failed;
    }

    for ( /* void */ ; next < (long) files->n; next++) {
        m->epoch.changed = 1;

        if (m->epoch.dry_run) {
            (void) printf("would apply %s\n", files->list[next].script);
            continue;
        }

        m->script = files->list[next].script;
        m->begun = tf_clock_ms();
        m->tell = 0;

        if (tf_migrate_apply(&m->pg, &files->list[next], ++history.rank, err)
            != 0)
        {
            goto failed;
        }

        m->script = NULL;
        (void) printf("applied %s\n", files->list[next].script);
    }

    tf_history_free(&history);

    return 0;

failed:

    (void) tf_cli_error(m->cli, "%s", err);
    tf_history_free(&history);

    return rc;
}


static int
tf_migrate_run(tf_migrate_t *m)
{
    int              status;
    char             err[TF_MIGRATE_ERR];
    const char      *why;
    tf_migrations_t  files;

    why = tf_roles_names(m->conf);
    if (why != NULL) {
        return tf_cli_error(m->cli, "%s: the migrations name that role", why);
    }

    if (tf_migrations_read(&files, m->conf->migrations, err) != 0) {
        return tf_cli_error(m->cli, "%s", err);
    }

    tf_pg_init(&m->pg, m->conf, TF_PG_ADMIN);
    m->pg.tell = tf_migrate_tell;
    m->pg.tell_data = m;
    status = TF_CLI_FAILED;
    m->epoch.wait = m->wait;

    if (tf_migrate_connect(m) == 0
        && tf_migrate_prepare(m) == 0
        && tf_migrate_files(m, &files) == 0
        && tf_epoch_migrate(&m->epoch, m->cli, m->conf, &m->pg) == 0)
    {
        status = TF_CLI_OK;

        if (!m->epoch.changed && !m->unprepared) {
            (void) printf("nothing to do: PostgreSQL has schema %d, Redis has "
                          "schema %d and a queue\n", TF_PG_SCHEMA,
                          TF_REDIS_SCHEMA);
        }
    }

    tf_pg_close(&m->pg);
    tf_migrations_free(&files);

    return status;
}


int
tf_cli_migrate(int argc, char **argv)
{
    int           c, status;
    tf_cli_t      cli;
    tf_conf_t     conf;
    tf_migrate_t  m;

    memset(&m, 0, sizeof(tf_migrate_t));
    m.wait = 60000;

    tf_cli_begin(&cli, &tf_migrate_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 'd':
            m.epoch.dry_run = 1;
            break;

        case 'w':
            m.wait = tf_key_parse_ms(cli.value);
            if (m.wait < 0) {
                return tf_cli_misuse(&cli, "--wait %s: a time such as 60s is "
                                     "expected", cli.value);
            }
            break;
        }
    }

    if (c < 0 || tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    m.cli = &cli;
    m.conf = &conf;

    status = tf_migrate_run(&m);

    if (fflush(stdout) != 0) {
        status = TF_CLI_FAILED;
    }

    tf_conf_free(&conf);

    return status;
}
