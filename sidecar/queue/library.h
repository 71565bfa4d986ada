#ifndef TF_QUEUE_LIBRARY_H
#define TF_QUEUE_LIBRARY_H


#include <trifecta/version.h>

#include "base/conf.h"
#include "queue/redis.h"


/*
 * The function library: what Redis runs for the queue.
 *
 * Its source is the folder <migrations>/redis/trifecta_v<n>/ of Lua files;
 * to Redis it is one text, the files joined in the order of their names.
 */

#define TF_LIBRARY          "trifecta_v" TF_REDIS_SCHEMA_STR
#define TF_LIBRARY_FILES    64
#define TF_LIBRARY_MAX      (1024 * 1024)   /* bytes of a file */


typedef enum {
    TF_LIBRARY_FAILED,      /* redis->err says why */
    TF_LIBRARY_NONE,
    TF_LIBRARY_OTHER,       /* of that name, with another text */
    TF_LIBRARY_SAME
} tf_library_t;


/* The text, which the caller frees; or NULL with a message in err. */
char *tf_library_read(const tf_conf_t *conf, char *err, size_t errlen);

/* Which one Redis has; text NULL: any is the same. */
tf_library_t tf_library_look(tf_redis_t *redis, const char *text);

/* Puts it in the place of the one that is there; 0, or -1 with redis->err. */
int tf_library_load(tf_redis_t *redis, const char *text);


#endif /* TF_QUEUE_LIBRARY_H */
