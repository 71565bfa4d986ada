#include "db/roles.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/buf.h"


#define TF_LOGINS  "('trifecta_queue', 'trifecta_rag', 'trifecta_edge')"
#define TF_ROLES   "('trifecta_owner', 'trifecta_queue', 'trifecta_rag', "    \
                   "'trifecta_edge')"
#define TF_LOGINS_VALUES  "(VALUES ('trifecta_queue'), ('trifecta_rag'), "    \
                          "('trifecta_edge')) AS v(name)"
#define TF_EDGE_HAS(setting)                                                  \
    "NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trifecta_edge' "       \
    "AND '" setting "' = ANY (rolconfig))"

typedef struct {
    const char  *what;
    const char  *query;
    int          own;           /* about the connection's own role */
} tf_roles_rule_t;

static const tf_roles_rule_t  tf_roles_rules[] = {

    { "the roles that the migrations name",
      "SELECT 'CREATE ROLE trifecta_owner NOLOGIN' WHERE "
          "to_regrole('trifecta_owner') IS NULL "
      "UNION ALL SELECT format('CREATE ROLE %I LOGIN', name) "
          "FROM " TF_LOGINS_VALUES " WHERE to_regrole(name) IS NULL", 0 },

    { "no role of ours has rights beyond its own",
      "SELECT format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEROLE "
                     "NOCREATEDB NOREPLICATION', rolname) "
      "FROM pg_roles WHERE rolname IN " TF_ROLES " AND (rolsuper OR "
      "rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)", 0 },

    { "three roles log in, the owner does not",
      "SELECT format('ALTER ROLE %I LOGIN', rolname) FROM pg_roles "
          "WHERE rolname IN " TF_LOGINS " AND NOT rolcanlogin "
      "UNION ALL SELECT 'ALTER ROLE trifecta_owner NOLOGIN' FROM pg_roles "
          "WHERE rolname = 'trifecta_owner' AND rolcanlogin", 0 },

    { "the roles that log in are in no role that could do more",
      "SELECT format('REVOKE %I FROM %I', r.rolname, m.rolname) "
      "FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid "
          "JOIN pg_roles m ON m.oid = a.member "
      "WHERE m.rolname IN " TF_LOGINS " AND (r.rolsuper OR r.rolbypassrls "
          "OR r.rolcreaterole OR r.rolname IN " TF_ROLES " OR r.rolname IN "
          "('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', "
          "'pg_write_server_files', 'pg_execute_server_program'))", 0 },

    { "what nginx logs in as only reads, and never for long",
      "SELECT 'ALTER ROLE trifecta_edge SET default_transaction_read_only "
              "= on' WHERE " TF_EDGE_HAS("default_transaction_read_only=on")
      " UNION ALL "
      "SELECT 'ALTER ROLE trifecta_edge SET statement_timeout = ''2s''' "
              "WHERE " TF_EDGE_HAS("statement_timeout=2s"), 0 },

    { "migrate takes the role of the owner",
      "SELECT format('GRANT trifecta_owner TO %I', current_user) "
      "WHERE NOT (SELECT rolsuper FROM pg_roles "
                 "WHERE rolname = current_user) "
      "AND NOT coalesce(pg_has_role(to_regrole('trifecta_owner')::oid, "
          "CASE WHEN current_setting('server_version_num')::int >= 160000 "
          "THEN 'SET' ELSE 'MEMBER' END), false)", 1 },

    { "the roles may connect",
      "SELECT format('GRANT CONNECT ON DATABASE %I TO %I', "
                    "current_database(), name) "
      "FROM " TF_LOGINS_VALUES " WHERE NOT coalesce(has_database_privilege("
          "to_regrole(name)::oid, current_database(), 'CONNECT'), false)",
      0 },

    { "the extension \"vector\" (Debian: postgresql-<version>-pgvector, or "
      "scripts/deps)",
      "SELECT 'CREATE EXTENSION vector' WHERE NOT EXISTS "
          "(SELECT FROM pg_extension WHERE extname = 'vector')", 0 },

    { "the schema, which belongs to the owner",
      "SELECT 'CREATE SCHEMA trifecta AUTHORIZATION trifecta_owner' "
          "WHERE to_regnamespace('trifecta') IS NULL "
      "UNION ALL SELECT 'ALTER SCHEMA trifecta OWNER TO trifecta_owner' "
          "FROM pg_namespace WHERE nspname = 'trifecta' "
          "AND pg_get_userbyid(nspowner) <> 'trifecta_owner'", 0 },

    { "the roles may use the schema, nobody else may",
      "SELECT format('GRANT USAGE ON SCHEMA trifecta TO %I', name) "
          "FROM " TF_LOGINS_VALUES " WHERE NOT coalesce("
          "has_schema_privilege(to_regrole(name)::oid, "
          "to_regnamespace('trifecta')::oid, 'USAGE'), false) "
      "UNION ALL SELECT 'REVOKE ALL ON SCHEMA trifecta FROM PUBLIC' "
          "FROM pg_namespace, aclexplode(nspacl) a "
          "WHERE nspname = 'trifecta' AND a.grantee = 0 "
      "UNION ALL SELECT format('REVOKE CREATE ON SCHEMA trifecta FROM %I', "
          "r.rolname) FROM pg_namespace, aclexplode(nspacl) a "
          "JOIN pg_roles r ON r.oid = a.grantee "
          "WHERE nspname = 'trifecta' AND a.privilege_type = 'CREATE' "
          "AND r.rolname IN " TF_LOGINS, 0 },
};

#define TF_ROLES_NRULES  (sizeof(tf_roles_rules) / sizeof(tf_roles_rules[0]))

static const char  *tf_roles_logins[TF_ROLES_LOGINS] = {
    "trifecta_queue", "trifecta_rag", "trifecta_edge"
};


const char *
tf_roles_name(int role)
{
    return tf_roles_logins[role];
}


char *
tf_roles_password_file(const tf_conf_t *conf, int role)
{
    char  *files[TF_ROLES_LOGINS];

    files[0] = conf->pg_queue_password_file;
    files[1] = conf->pg_rag_password_file;
    files[2] = conf->pg_edge_password_file;

    return files[role];
}


const char *
tf_roles_names(const tf_conf_t *conf)
{
    if (strcmp(conf->pg_owner_user, "trifecta_owner") != 0) {
        return "pg_owner_user must be trifecta_owner";
    }

    if (strcmp(conf->pg_queue_user, tf_roles_logins[0]) != 0) {
        return "pg_queue_user must be trifecta_queue";
    }

    if (strcmp(conf->pg_rag_user, tf_roles_logins[1]) != 0) {
        return "pg_rag_user must be trifecta_rag";
    }

    if (strcmp(conf->pg_edge_user, tf_roles_logins[2]) != 0) {
        return "pg_edge_user must be trifecta_edge";
    }

    return NULL;
}


static void
tf_roles_add(tf_role_steps_t *steps, const char *what, const char *sql,
    int password)
{
    char            *copy;
    tf_role_step_t  *list;

    copy = strdup(sql);
    list = realloc(steps->list, (steps->n + 1) * sizeof(tf_role_step_t));

    if (list != NULL) {
        steps->list = list;
    }

    if (copy == NULL || list == NULL) {
        free(copy);
        steps->failed = 1;
        return;
    }

    memset(&list[steps->n], 0, sizeof(tf_role_step_t));
    list[steps->n].what = what;
    list[steps->n].sql = copy;
    list[steps->n].password = password;
    steps->n++;
}


void
tf_roles_free(tf_role_steps_t *steps)
{
    size_t  i;

    for (i = 0; i < steps->n; i++) {
        free(steps->list[i].sql);
        free(steps->list[i].why);
    }

    free(steps->list);
    memset(steps, 0, sizeof(tf_role_steps_t));
}


int
tf_roles_check(tf_role_steps_t *steps, tf_pg_t *pg, int own)
{
    int                     n;
    size_t                  i;
    PGresult               *res;
    const tf_roles_rule_t  *rule;

    for (i = 0; i < TF_ROLES_NRULES; i++) {
        rule = &tf_roles_rules[i];

        if (rule->own && !own) {
            continue;
        }

        if (tf_pg_query(pg, &res, 0, rule->query, 0, NULL) != TF_PG_OK) {
            return -1;
        }

        for (n = 0; n < PQntuples(res); n++) {
            tf_roles_add(steps, rule->what, PQgetvalue(res, n, 0), 0);
        }

        PQclear(res);
    }

    if (steps->failed) {
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        return -1;
    }

    return 0;
}


/*
 * A connection of the kind that does not look at the schema, but to where
 * the programs connect, and as one of their roles.
 */

tf_pg_status_t
tf_roles_login(tf_role_login_t *login, const tf_conf_t *conf, int role)
{
    char  sep;

    memset(login, 0, sizeof(tf_role_login_t));

    if (strncmp(conf->pg_url, "postgres", 8) != 0) {
        sep = ' ';
    } else {
        sep = strchr(conf->pg_url, '?') ? '&' : '?';
    }

    tf_buf_printf(&login->url, "%s%cuser=%s", conf->pg_url, sep,
                  tf_roles_logins[role]);

    login->conf = *conf;
    login->conf.pg_admin_url = login->url.data;
    login->conf.pg_admin_password_file = tf_roles_password_file(conf, role);

    tf_pg_init(&login->pg, &login->conf, TF_PG_ADMIN);

    if (login->url.failed) {
        (void) snprintf(login->pg.err, sizeof(login->pg.err),
                        "out of memory");
        return TF_PG_DOWN;
    }

    return tf_pg_connect(&login->pg);
}


/* The strings of the configuration are borrowed, but for the URL. */

void
tf_roles_logout(tf_role_login_t *login)
{
    tf_pg_close(&login->pg);
    tf_buf_free(&login->url);
}


int
tf_roles_check_logins(tf_role_steps_t *steps, tf_pg_t *pg)
{
    int               i;
    char              sql[96];
    const char       *name, *shorter;
    tf_pg_status_t    rc;
    tf_role_login_t   login;

    for (i = 0; i < TF_ROLES_LOGINS; i++) {
        name = tf_roles_logins[i];
        shorter = name + sizeof("trifecta_") - 1;

        rc = tf_roles_login(&login, pg->conf, i);

        (void) snprintf(pg->err, sizeof(pg->err), "%s cannot log in: %.400s",
                        name, login.pg.err);
        tf_roles_logout(&login);

        if (rc == TF_PG_OK) {
            continue;
        }

        if (rc == TF_PG_ERROR) {        /* no password could be read */
            return -1;
        }

        if (tf_roles_password_file(pg->conf, i)[0] == '\0') {
            (void) snprintf(pg->err, sizeof(pg->err), "%s cannot log in, and "
                            "pg_%s_password_file is not set", name, shorter);
            return -1;
        }

        (void) snprintf(sql, sizeof(sql), "ALTER ROLE %s PASSWORD "
                        ":'%s_password'", name, shorter);
        tf_roles_add(steps, "the roles log in with their passwords", sql,
                     i + 1);
    }

    return 0;
}


/* The server gets the verifier, so that no log of it can have the password. */

static tf_pg_status_t
tf_roles_set_password(tf_pg_t *pg, int role)
{
    char            *password, *verifier, *quoted;
    tf_buf_t         sql = TF_BUF_INIT;
    const char      *name;
    tf_pg_status_t   rc;

    name = tf_roles_logins[role];
    verifier = NULL;
    quoted = NULL;
    rc = TF_PG_ERROR;

    password = tf_read_secret(tf_roles_password_file(pg->conf, role), pg->err,
                              sizeof(pg->err));
    if (password == NULL) {
        return TF_PG_ERROR;
    }

    verifier = PQencryptPasswordConn(pg->conn, password, name,
                                     "scram-sha-256");
    if (verifier != NULL) {
        quoted = PQescapeLiteral(pg->conn, verifier, strlen(verifier));
    }

    if (quoted != NULL) {
        tf_buf_printf(&sql, "ALTER ROLE %s PASSWORD %s", name, quoted);
    }

    if (quoted == NULL || sql.failed) {
        (void) snprintf(pg->err, sizeof(pg->err), "cannot make a verifier of "
                        "the password");

    } else {
        rc = tf_pg_exec(pg, 0, sql.data);
    }

    OPENSSL_cleanse(password, strlen(password));
    free(password);
    PQfreemem(verifier);
    PQfreemem(quoted);
    tf_buf_free(&sql);

    return rc;
}


int
tf_roles_mend(tf_role_steps_t *steps, tf_pg_t *pg, FILE *report)
{
    size_t           i, left;
    tf_role_step_t  *step;
    tf_pg_status_t   rc;

    left = 0;

    for (i = 0; i < steps->n; i++) {
        step = &steps->list[i];

        if (step->why != NULL) {
            rc = TF_PG_ERROR;

        } else if (step->password) {
            rc = tf_roles_set_password(pg, step->password - 1);

        } else {
            rc = tf_pg_exec(pg, 0, step->sql);
        }

        if (rc == TF_PG_OK) {
            (void) fprintf(report, "done: %s\n", step->sql);
            free(step->sql);
            continue;
        }

        if (step->why == NULL) {
            step->why = strdup(pg->err);
        }

        steps->list[left++] = *step;

        if (pg->conn == NULL) {
            for (i++; i < steps->n; i++) {
                steps->list[left++] = steps->list[i];
            }
            steps->n = left;
            return -1;
        }
    }

    steps->n = left;

    return 0;
}
