#ifndef TF_BASE_KEYS_H
#define TF_BASE_KEYS_H


#include <stddef.h>
#include <stdint.h>


/*
 * Settings by name: a table of keys, each with a type and a place in a
 * struct, and files of lines that set them.
 *
 * A file has lines "key = value"; "#" starts a comment at the start of a line
 * or after white space, and "[name]" a section, where sections are wanted.
 * Strings are malloc'ed and belong to the struct.
 */

typedef char     *tf_key_STR;
typedef int64_t   tf_key_MS;    /* "500ms", "30s", "5m", "2h", "30d" */
typedef uint64_t  tf_key_NUM;
typedef double    tf_key_REAL;  /* 0 and more */
typedef int       tf_key_BOOL;  /* on or off */

typedef enum {
    TF_KEY_STR,
    TF_KEY_MS,
    TF_KEY_NUM,
    TF_KEY_REAL,
    TF_KEY_BOOL
} tf_key_type_t;

typedef struct {
    const char     *name;
    tf_key_type_t   type;
    size_t          offset;
    const char     *def;
    const char     *what;
} tf_key_t;


/* Each returns NULL, or what the value should have been. */
const char *tf_key_set(void *base, const tf_key_t *key, const char *value);
const char *tf_keys_default(void *base, const tf_key_t *table, size_t n);

const tf_key_t *tf_key_find(const tf_key_t *table, size_t n,
    const char *name);
void tf_keys_free(void *base, const tf_key_t *table, size_t n);

/* "500ms", "30s", "5m", "2h", "30d" or plain seconds; -1 when it is none. */
int64_t tf_key_parse_ms(const char *text);

/*
 * Reads a file: calls line() with each name and value, or with the name of a
 * section and NULL.  What line() returns is NULL or what is wrong, which ends
 * up in err behind the file's name and the number of the line.  0 or -1.
 */
int tf_keys_read(const char *file,
    const char *(*line)(void *arg, const char *name, const char *value),
    void *arg, char *err, size_t errlen);


#endif /* TF_BASE_KEYS_H */
