#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/version.h>

#include "cli/doctor.h"
#include "db/migrate.h"
#include "db/roles.h"


#define TF_DOCTOR_MIGRATE  "run \"trifecta migrate\""

/* Queries whose rows are what is wrong. */

typedef struct {
    const char         *what;
    const char         *query;
    const char         *good;
    const char         *mend;
    tf_doctor_level_t   level;
} tf_doctor_rule_t;

static const tf_doctor_rule_t  tf_doctor_rules[] = {

    { "PostgreSQL owner",
      "SELECT format('%s %I.%I belongs to %I', CASE relkind WHEN 'v' THEN "
             "'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, "
             "relname, pg_get_userbyid(relowner)) "
      "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
      "WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND (nspname = 'trifecta' "
          "AND pg_get_userbyid(relowner) <> 'trifecta_owner' "
          "OR pg_get_userbyid(relowner) IN ('trifecta_queue', "
          "'trifecta_rag', 'trifecta_edge')) "
      "UNION ALL SELECT format('function trifecta.%I belongs to %I', proname, "
             "pg_get_userbyid(proowner)) FROM pg_proc "
      "WHERE pronamespace = to_regnamespace('trifecta') "
          "AND pg_get_userbyid(proowner) <> 'trifecta_owner'",
      "everything in the schema is trifecta_owner's, the roles that log in "
      "own nothing", "ALTER ... OWNER TO trifecta_owner", TF_DOCTOR_FAIL },

    { "row-level security",
      "SELECT format('it is not forced on trifecta.%I', relname) "
      "FROM pg_class WHERE relnamespace = to_regnamespace('trifecta') "
          "AND relkind IN ('r', 'p') AND NOT relispartition "
          "AND NOT (relrowsecurity AND relforcerowsecurity) "
          "AND relname NOT IN ('epoch', 'install', 'shard', "
          "'flyway_schema_history')",
      "forced on every table with somebody's data",
      "ALTER TABLE ... ENABLE and FORCE ROW LEVEL SECURITY", TF_DOCTOR_FAIL }
};

#define TF_DOCTOR_NRULES                                                      \
    (sizeof(tf_doctor_rules) / sizeof(tf_doctor_rules[0]))


static void
tf_doctor_rule(tf_doctor_t *d, tf_pg_t *pg, const tf_doctor_rule_t *rule)
{
    int        i;
    PGresult  *res;

    if (tf_pg_query(pg, &res, 0, rule->query, 0, NULL) != TF_PG_OK) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, rule->what, "see PostgreSQL's log",
                      "cannot be checked: %s", pg->err);
        return;
    }

    for (i = 0; i < PQntuples(res); i++) {
        tf_doctor_add(d, rule->level, rule->what, rule->mend, "%s",
                      PQgetvalue(res, i, 0));
    }

    if (i == 0) {
        tf_doctor_add(d, TF_DOCTOR_OK, rule->what, NULL, "%s", rule->good);
    }

    PQclear(res);
}


static void
tf_doctor_roles(tf_doctor_t *d, tf_pg_t *pg)
{
    size_t           i;
    tf_role_steps_t  steps;

    memset(&steps, 0, sizeof(tf_role_steps_t));

    if (tf_roles_check(&steps, pg, 0) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "PostgreSQL rights",
                      "see PostgreSQL's log", "cannot be checked: %s",
                      pg->err);

    } else if (steps.n == 0) {
        tf_doctor_add(d, TF_DOCTOR_OK, "PostgreSQL rights", NULL,
                      "four roles, none with rights beyond its own");
    }

    for (i = 0; i < steps.n; i++) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "PostgreSQL rights",
                      TF_DOCTOR_MIGRATE, "%s: %s", steps.list[i].what,
                      steps.list[i].sql);
    }

    tf_roles_free(&steps);
}


static void
tf_doctor_versions(tf_doctor_t *d, tf_pg_t *pg)
{
    int          major, minor, patch;
    PGresult    *res;
    const char  *version;

    if (tf_pg_query(pg, &res, 0, "SELECT current_setting('server_version'), "
                    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint, "
                    "(SELECT extversion FROM pg_extension "
                    "WHERE extname = 'vector')", 0, NULL)
        != TF_PG_OK)
    {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "PostgreSQL",
                      "see PostgreSQL's log", "%s", pg->err);
        return;
    }

    tf_doctor_clock(d, "clock of PostgreSQL",
                    strtoll(PQgetvalue(res, 0, 1), NULL, 10));

    tf_doctor_add(d, PQserverVersion(pg->conn) < 130000 ? TF_DOCTOR_FAIL
                                                        : TF_DOCTOR_OK,
                  "PostgreSQL", "use PostgreSQL 13 or newer", "%s at %s",
                  PQgetvalue(res, 0, 0), d->conf->pg_url);

    /* a missing one is reported with the rights */

    version = PQgetvalue(res, 0, 2);

    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) == 3) {
        if (major == 0 && (minor < 8 || (minor == 8 && patch < 2))) {
            tf_doctor_add(d, TF_DOCTOR_WARN, "pgvector",
                          "update to 0.8.4; until then build HNSW indexes "
                          "with max_parallel_maintenance_workers = 0",
                          "%s: parallel index builds can overflow a buffer",
                          version);

        } else if (major == 0 && minor == 8 && patch < 4) {
            tf_doctor_add(d, TF_DOCTOR_WARN, "pgvector", "update to 0.8.4",
                          "%s: an index can become corrupt", version);

        } else {
            tf_doctor_add(d, TF_DOCTOR_OK, "pgvector", NULL, "%s", version);
        }
    }

    PQclear(res);
}


static void
tf_doctor_migrations(tf_doctor_t *d, tf_pg_t *pg)
{
    char             err[TF_MIGRATE_ERR];
    long             next;
    tf_history_t     history;
    tf_migrations_t  files;

    if (tf_migrations_read(&files, d->conf->migrations, err) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "migrations",
                      "install the folder of this release", "%s", err);
        return;
    }

    if (tf_history_read(&history, pg, err) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "migrations", TF_DOCTOR_MIGRATE,
                      "%s", err);
        tf_migrations_free(&files);
        return;
    }

    next = tf_migrate_plan(&files, &history, err);

    if (next == -1) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "migrations",
                      "both stores and all programs must be of one release",
                      "%s", err);

    } else if (next < (long) files.n) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "migrations", TF_DOCTOR_MIGRATE,
                      "%ld of %zu are not applied, the next is %s",
                      (long) files.n - next, files.n,
                      files.list[next].script);

    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "migrations", NULL, "schema version "
                      "%d, all checksums are right", TF_PG_SCHEMA);
    }

    tf_history_free(&history);
    tf_migrations_free(&files);
}


/* Before its table is there, the missing migrations have been said. */

static void
tf_doctor_installation(tf_doctor_t *d, tf_pg_t *pg)
{
    PGresult  *res;

    if (tf_pg_query(pg, &res, 0, "SELECT id FROM trifecta.install", 0, NULL)
        != TF_PG_OK)
    {
        return;
    }

    if (PQntuples(res) == 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "installation",
                      TF_DOCTOR_MIGRATE ", which fills it with the id that "
                      "Redis has",
                      "trifecta.install is empty: after the next restart of "
                      "Redis nothing is accepted");

    } else {
        tf_doctor_add(d, TF_DOCTOR_OK, "installation", NULL, "%s",
                      PQgetvalue(res, 0, 0));
    }

    PQclear(res);
}


static void
tf_doctor_pg_keeps(tf_doctor_t *d, tf_pg_t *pg)
{
    tf_durability_t  found;

    memset(&found, 0, sizeof(found));

    if (tf_durability_pg(&found, pg) != 0) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "PostgreSQL durability",
                      "see PostgreSQL's log", "cannot be checked: %s",
                      pg->err);
        return;
    }

    tf_doctor_durability(d, &found);
}


void
tf_doctor_pg(tf_doctor_t *d)
{
    int               i;
    size_t            k;
    const char       *why;
    tf_role_login_t   login;

    why = tf_roles_names(d->conf);
    if (why != NULL) {
        tf_doctor_add(d, TF_DOCTOR_FAIL, "configuration",
                      "leave it at its default", "%s", why);
    }

    for (i = TF_ROLES_LOGINS - 1; i >= 0; i--) {
        if (tf_roles_login(&login, d->conf, i) == TF_PG_OK) {
            tf_doctor_add(d, TF_DOCTOR_OK, "PostgreSQL login", NULL, "%s",
                          tf_roles_name(i));

        } else {
            tf_doctor_add(d, TF_DOCTOR_FAIL, "PostgreSQL login",
                          TF_DOCTOR_MIGRATE " (it makes the roles and sets "
                          "their passwords); see pg_url and pg_hba.conf",
                          "%s: %s", tf_roles_name(i), login.pg.err);
        }

        if (i > 0) {
            tf_roles_logout(&login);
        }
    }

    /* the last one, the queue's, may see what the rest asks for */

    if (login.pg.conn != NULL) {
        tf_doctor_versions(d, &login.pg);
        tf_doctor_roles(d, &login.pg);
        tf_doctor_migrations(d, &login.pg);
        tf_doctor_installation(d, &login.pg);

        for (k = 0; k < TF_DOCTOR_NRULES; k++) {
            tf_doctor_rule(d, &login.pg, &tf_doctor_rules[k]);
        }

        tf_doctor_pg_keeps(d, &login.pg);
    }

    tf_roles_logout(&login);
}
