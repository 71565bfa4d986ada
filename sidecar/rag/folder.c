#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "rag/folder.h"


typedef struct {
    tf_files_t    *files;
    const char    *root;        /* resolved */
    size_t         base;        /* where sources start in paths */
    tf_folder_pt   skipped;
    void          *ctx;
} tf_walk_t;


static void tf_walk(tf_walk_t *walk, const char *path, unsigned depth);
static void tf_walk_entry(tf_walk_t *walk, const char *path, unsigned depth);
static void tf_files_add(tf_files_t *files, const char *path,
    const char *source);
static int tf_visible(const struct dirent *entry);
static int tf_by_bytes(const struct dirent **a, const struct dirent **b);


void
tf_folder_walk(tf_files_t *files, const char *folder, tf_folder_pt skipped,
    void *ctx)
{
    char       root[PATH_MAX];
    size_t     len;
    tf_walk_t  walk;

    if (realpath(folder, root) == NULL) {
        skipped(ctx, folder, strerror(errno));
        files->errors++;
        return;
    }

    len = strlen(root);

    walk.files = files;
    walk.root = root;
    walk.base = len + (root[len - 1] != '/');
    walk.skipped = skipped;
    walk.ctx = ctx;

    tf_walk(&walk, root, 0);
}


static void
tf_walk(tf_walk_t *walk, const char *path, unsigned depth)
{
    int              i, n;
    char             name[PATH_MAX];
    struct dirent  **list;

    n = depth < TF_FOLDER_DEPTH ? scandir(path, &list, tf_visible, tf_by_bytes)
                                : -1;
    if (n == -1) {
        walk->skipped(walk->ctx, path, depth < TF_FOLDER_DEPTH
                      ? strerror(errno) : "folders are nested too deeply");
        walk->files->errors++;
        return;
    }

    for (i = 0; i < n; i++) {
        if (snprintf(name, sizeof(name), "%s/%s",
                     strcmp(path, "/") == 0 ? "" : path, list[i]->d_name)
            >= (int) sizeof(name))
        {
            walk->skipped(walk->ctx, path, "a path in it is too long");
            walk->files->errors++;

        } else {
            tf_walk_entry(walk, name, depth);
        }

        free(list[i]);
    }

    free(list);
}


static void
tf_walk_entry(tf_walk_t *walk, const char *path, unsigned depth)
{
    char         target[PATH_MAX];
    size_t       n;
    struct stat  st;

    if (lstat(path, &st) == -1) {
        walk->skipped(walk->ctx, path, strerror(errno));
        walk->files->errors++;
        return;
    }

    if (S_ISDIR(st.st_mode)) {
        tf_walk(walk, path, depth + 1);
        return;
    }

    if (S_ISLNK(st.st_mode)) {
        n = strlen(walk->root);

        if (realpath(path, target) == NULL || stat(target, &st) == -1) {
            walk->skipped(walk->ctx, path, "a link to nothing");
            return;
        }

        if (S_ISDIR(st.st_mode)) {
            walk->skipped(walk->ctx, path, "a link to a folder");
            return;
        }

        if (strncmp(target, walk->root, n) != 0
            || (target[n] != '/' && walk->root[n - 1] != '/'))
        {
            walk->skipped(walk->ctx, path, "a link to outside the folder");
            return;
        }
    }

    if (S_ISREG(st.st_mode)) {
        tf_files_add(walk->files, path, path + walk->base);
    }
}


void
tf_folder_file(tf_files_t *files, const char *path)
{
    const char  *name;

    name = strrchr(path, '/');

    tf_files_add(files, path, name == NULL ? path : name + 1);
}


static void
tf_files_add(tf_files_t *files, const char *path, const char *source)
{
    size_t      room;
    tf_file_t  *file;

    if (files->n == files->room) {
        room = files->room ? files->room * 2 : 64;

        file = realloc(files->list, room * sizeof(tf_file_t));
        if (file == NULL) {
            files->failed = 1;
            return;
        }

        files->list = file;
        files->room = room;
    }

    file = &files->list[files->n];
    file->path = strdup(path);
    file->source = strdup(source);

    if (file->path == NULL || file->source == NULL) {
        free(file->path);
        free(file->source);
        files->failed = 1;
        return;
    }

    files->n++;
}


void
tf_files_free(tf_files_t *files)
{
    size_t  i;

    for (i = 0; i < files->n; i++) {
        free(files->list[i].path);
        free(files->list[i].source);
    }

    free(files->list);
    memset(files, 0, sizeof(tf_files_t));
}


static int
tf_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}


static int
tf_by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
