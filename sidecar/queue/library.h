#ifndef TF_QUEUE_LIBRARY_H
#define TF_QUEUE_LIBRARY_H


#include <trifecta/version.h>

#include "base/conf.h"


/*
 * The function library: what Redis runs for the queue.
 *
 * Its source is the folder <migrations>/redis/trifecta_v<n>/ of Lua files;
 * to Redis it is one text, the files joined in the order of their names.
 */

#define TF_LIBRARY          "trifecta_v" TF_REDIS_SCHEMA_STR
#define TF_LIBRARY_FILES    64
#define TF_LIBRARY_MAX      (1024 * 1024)   /* bytes of a file */


/* The text, which the caller frees; or NULL with a message in err. */
char *tf_library_read(const tf_conf_t *conf, char *err, size_t errlen);


#endif /* TF_QUEUE_LIBRARY_H */
