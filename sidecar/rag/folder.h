#ifndef TF_RAG_FOLDER_H
#define TF_RAG_FOLDER_H


#include <stddef.h>


/*
 * The files below a folder, in the order of their paths' bytes.  Hidden names
 * are left out.  A link to a file is followed when what it leads to is in the
 * folder, a link to a folder never is.  What could not be read is counted in
 * errors, its path and reason told to the handler; then nobody may conclude
 * that a file that was not listed is gone.
 */

#define TF_FOLDER_DEPTH  64

typedef struct {
    char     *path;         /* to open it */
    char     *source;       /* relative to the folder */
} tf_file_t;

typedef struct {
    tf_file_t  *list;
    size_t      n;
    size_t      room;
    size_t      errors;
    int         failed;     /* memory was short */
} tf_files_t;

typedef void (*tf_folder_pt)(void *ctx, const char *path, const char *why);


void tf_folder_walk(tf_files_t *files, const char *folder,
    tf_folder_pt skipped, void *ctx);

/* One file by itself; its source is its name. */
void tf_folder_file(tf_files_t *files, const char *path);

void tf_files_free(tf_files_t *files);


#endif /* TF_RAG_FOLDER_H */
