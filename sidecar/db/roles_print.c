#include "db/roles.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"


/*
 * The script is made for psql: where a password is needed, psql itself reads
 * the file (in backquotes), unless the variable was given on its command
 * line.  It is one transaction, so it can be run again.
 */

static void
tf_roles_print_password(const tf_conf_t *conf, int role, FILE *out)
{
    char        *path, *file;
    const char  *p, *name;

    name = tf_roles_name(role) + sizeof("trifecta_") - 1;
    file = tf_roles_password_file(conf, role);
    path = realpath(file, NULL);
    p = path ? path : file;

    (void) fprintf(out, "\\if :{?%s_password}\n\\else\n", name);

    /* a path that the shell or psql could read as something else: no guess */

    if (p[strcspn(p, "'`\\\n")] == '\0') {
        (void) fprintf(out, "\\set %s_password `head -n 1 '%s'`\n", name, p);

    } else {
        (void) fprintf(out, "\\set %s_password ''\n", name);
    }

    (void) fprintf(out,
        "\\endif\n"
        "SELECT length(:'%s_password') = 0 AS no_password \\gset\n"
        "\\if :no_password\n"
        "DO $$ BEGIN RAISE 'no password for %s: run psql with "
        "-v %s_password=...'; END $$;\n"
        "\\endif\n\n", name, tf_roles_name(role), name);

    free(path);
}


void
tf_roles_print(const tf_role_steps_t *steps, tf_pg_t *pg, FILE *out)
{
    int          passwords;
    char        *db;
    size_t       i;
    const char  *what, *name;

    name = PQdb(pg->conn);
    db = PQescapeLiteral(pg->conn, name, strlen(name));
    passwords = 0;

    (void) fprintf(out,
        "-- What \"trifecta migrate\" may not do itself. An administrator "
        "of PostgreSQL\n"
        "-- (a superuser, for the extension too) runs it once, for example\n"
        "--   psql -X -h %s -p %s -U postgres -d %s -f THIS_FILE\n"
        "-- and then \"trifecta migrate\" is run again.\n",
        PQhost(pg->conn), PQport(pg->conn), name);

    for (i = 0; i < steps->n; i++) {
        passwords |= steps->list[i].password;
    }

    if (passwords) {
        (void) fprintf(out,
        "-- psql reads the passwords from the files that the configuration "
        "names. Where it\n"
        "-- cannot, give them to psql: -v queue_password=... "
        "-v rag_password=... -v edge_password=...\n");
    }

    (void) fprintf(out,
        "\n\\set ON_ERROR_STOP on\n"
        "SELECT current_database() = %s AS right_database \\gset\n"
        "\\if :right_database\n"
        "\\else\n"
        "DO $$ BEGIN RAISE 'this is another database: use -d'; END $$;\n"
        "\\endif\n\n", db ? db : "''");

    for (i = 0; i < steps->n; i++) {
        if (steps->list[i].password) {
            tf_roles_print_password(pg->conf, steps->list[i].password - 1,
                                    out);
        }
    }

    (void) fprintf(out, "BEGIN;\n");

    for (i = 0, what = NULL; i < steps->n; i++) {
        if (what != steps->list[i].what) {
            what = steps->list[i].what;
            (void) fprintf(out, "\n-- %s\n", what);
        }

        if (steps->list[i].why != NULL) {
            (void) fprintf(out, "-- %s\n", steps->list[i].why);
        }

        (void) fprintf(out, "%s;\n", steps->list[i].sql);
    }

    (void) fprintf(out, "\nCOMMIT;\n");

    PQfreemem(db);
}
