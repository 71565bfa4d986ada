#ifndef TF_EXTRACT_OFFICE_H
#define TF_EXTRACT_OFFICE_H


#include <stddef.h>

#include "extract/zip.h"


/*
 * What the office formats share: title, authors and date among a file's
 * properties, and relations, by which one member of the ZIP names others.
 */

typedef struct {
    char   id[64];
    char   kind[64];            /* last part of its type: "slide" */
    char   target[256];         /* the member's name */
} tf_relation_t;

#define TF_RELATIONS_MAX  20000

typedef struct {
    tf_relation_t  *list;
    size_t          n;
    size_t          room;
    int             failed;
} tf_relations_t;


/* The properties in a member, if there is one: 0, or -1. */
int tf_office_properties(tf_zip_t *zip, const char *member, tf_text_t *text);

/* The relations of a member ("ppt/presentation.xml"): 0, or -1. */
int tf_relations_read(tf_zip_t *zip, const char *member,
    tf_relations_t *relations);
const tf_relation_t *tf_relation_find(const tf_relations_t *relations,
    const char *id);


#endif /* TF_EXTRACT_OFFICE_H */
