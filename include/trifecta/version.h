#ifndef TRIFECTA_VERSION_H
#define TRIFECTA_VERSION_H


/*
 * The versions on which the module, the sidecar and both stores must agree.
 *
 * TF_PG_SCHEMA is the number of the newest migrations/V<n>__*.sql.  A program
 * serves requests only on a database whose history table says exactly that
 * number.  TF_REDIS_SCHEMA is the number in the name of the Redis function
 * library and of every function in it, and stands in the "schema" field of
 * the shard's meta hash.
 */

#define TF_VERSION        "0.1.0"

#define TF_PG_SCHEMA      21
#define TF_PG_SCHEMA_STR  "21"

#define TF_REDIS_SCHEMA   1
#define TF_REDIS_SCHEMA_STR  "1"


#endif /* TRIFECTA_VERSION_H */
