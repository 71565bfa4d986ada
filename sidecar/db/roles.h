#ifndef TF_DB_ROLES_H
#define TF_DB_ROLES_H


#include <stdio.h>

#include "base/buf.h"
#include "db/pg.h"


/*
 * What must be there before the first migration: roles, their rights and
 * passwords, the extension, the schema.
 *
 *   trifecta_owner   owns the schema and everything in it; nobody logs in
 *                    as it, migrate takes it with SET ROLE
 *   trifecta_queue, trifecta_rag, trifecta_edge
 *                    log in; none owns anything, none passes row-level
 *                    security, edge is read-only
 *
 * The migrations name these roles, so their names are fixed.
 *
 * Every precondition is a query whose rows are the statements that are
 * still needed (roles.c has the table).  tf_roles_check() collects them,
 * tf_roles_mend() runs what the connection may run, and what is left
 * tf_roles_print() writes as a psql script for an administrator.  No
 * password is in a statement that is printed: psql reads them from their
 * files, and what migrate itself sends is a SCRAM verifier.
 */

typedef struct {
    const char  *what;          /* why it is needed */
    char        *sql;           /* as an administrator runs it in psql */
    char        *why;           /* the server's refusal, or NULL */
    int          password;      /* 1 + index of the login role whose password
                                   it sets; 0: it is no such statement */
} tf_role_step_t;

typedef struct {
    tf_role_step_t  *list;
    size_t           n;
    int              failed;    /* out of memory */
} tf_role_steps_t;


/* 0, or -1 with pg->err.  own: what the connection itself needs too. */
int tf_roles_check(tf_role_steps_t *steps, tf_pg_t *pg, int own);

/*
 * Adds a step for every login role that cannot log in with the password of
 * its file.  In err, "" or why one still cannot.
 */
int tf_roles_check_logins(tf_role_steps_t *steps, tf_pg_t *pg);

/* Runs the steps; those that were refused stay, with their reason. */
int tf_roles_mend(tf_role_steps_t *steps, tf_pg_t *pg, FILE *report);

/* The script of what is left. */
void tf_roles_print(const tf_role_steps_t *steps, tf_pg_t *pg, FILE *out);

void tf_roles_free(tf_role_steps_t *steps);

/* NULL, or which configured user is not the role that it must be. */
const char *tf_roles_names(const tf_conf_t *conf);

/*
 * A connection as one of the login roles (0 queue, 1 rag, 2 edge) without a
 * look at the schema.  Returns as tf_pg_connect(); close it in any case.
 */

typedef struct {
    tf_pg_t    pg;
    tf_conf_t  conf;
    tf_buf_t   url;
} tf_role_login_t;

tf_pg_status_t tf_roles_login(tf_role_login_t *login, const tf_conf_t *conf,
    int role);
void tf_roles_logout(tf_role_login_t *login);

/* The name of a login role, and the file that the password is in. */
const char *tf_roles_name(int role);
char *tf_roles_password_file(const tf_conf_t *conf, int role);

#define TF_ROLES_LOGINS  3


#endif /* TF_DB_ROLES_H */
