#include <stdlib.h>
#include <string.h>

#include "rag/chunk.h"
#include "rag/units.h"


/*
 * Blocks are taken apart into atoms, which are never cut: sentences of prose,
 * fields, whole lists, tables and code, or their items and lines when they are
 * beyond the hard limit, or pieces of one that is.
 */

typedef struct {
    size_t       start;
    size_t       end;
    size_t       chars;         /* from start to the start of the next */
    unsigned     section;
    unsigned     prose:1;
} tf_atom_t;

typedef struct {
    tf_atom_t   *list;
    size_t       n;
    size_t       room;
    int          failed;
} tf_atoms_t;

typedef struct {
    tf_chunk_t  *list;
    size_t       n;
    size_t       room;
} tf_chunks_t;

typedef struct {
    tf_atoms_t        *atoms;
    const tf_text_t   *text;
    const tf_block_t  *block;
} tf_taking_t;


static void tf_atoms_block(tf_atoms_t *atoms, const tf_text_t *text,
    const tf_block_t *block);
static void tf_atoms_line(void *ctx, size_t start, size_t end);
static void tf_atoms_put(tf_atoms_t *atoms, const tf_text_t *text,
    const tf_block_t *block, size_t start, size_t end);
static void tf_atoms_add(tf_atoms_t *atoms, unsigned section, int prose,
    size_t start, size_t end);
static int tf_chunks_put(tf_chunks_t *chunks, const tf_atom_t *first,
    const tf_atom_t *last);
static size_t tf_chunk_overlap(const tf_text_t *text, const tf_atom_t *first,
    const tf_atom_t *last);


tf_chunk_t *
tf_chunks(const tf_text_t *text, size_t *n)
{
    size_t        i, first, chars, start, overlap;
    tf_atom_t    *atom;
    tf_atoms_t    atoms;
    tf_chunks_t   chunks;

    memset(&atoms, 0, sizeof(tf_atoms_t));
    memset(&chunks, 0, sizeof(tf_chunks_t));

    for (i = 0; i < text->nblocks; i++) {
        tf_atoms_block(&atoms, text, &text->blocks[i]);
    }

    if (atoms.failed) {
        goto failed;
    }

    /* what lies between two atoms counts to the first */

    for (i = 0; i < atoms.n; i++) {
        atom = &atoms.list[i];
        atom->chars = tf_utf8_chars(text->data + atom->start,
                                    (i + 1 < atoms.n
                                     && atom[1].section == atom->section
                                     ? atom[1].start : atom->end)
                                    - atom->start);
    }

    first = 0;
    chars = 0;
    overlap = 0;

    for (i = 0; i < atoms.n; i++) {
        atom = &atoms.list[i];

        if (i > first
            && (atom->section != atoms.list[first].section
                || (chars + atom->chars > TF_CHUNK_MAX
                    && (chars >= TF_CHUNK_MIN / 4
                        || chars + atom->chars > TF_CHUNK_HARD))))
        {
            if (tf_chunks_put(&chunks, &atoms.list[first], atom - 1) != 0) {
                goto failed;
            }

            if (overlap) {
                chunks.list[chunks.n - 1].start = overlap;
            }

            overlap = 0;
            chars = 0;

            if (atom->section == atoms.list[first].section) {
                start = tf_chunk_overlap(text, &atoms.list[first], atom - 1);

                if (start < atom->start) {
                    overlap = start;
                    chars = tf_utf8_chars(text->data + start,
                                          atom->start - start);
                }
            }

            first = i;
        }

        chars += atom->chars;
    }

    if (i > first) {
        if (tf_chunks_put(&chunks, &atoms.list[first], &atoms.list[i - 1])
            != 0)
        {
            goto failed;
        }

        if (overlap) {
            chunks.list[chunks.n - 1].start = overlap;
        }
    }

    free(atoms.list);

    *n = chunks.n;

    return chunks.list != NULL ? chunks.list : calloc(1, sizeof(tf_chunk_t));

failed:

    free(atoms.list);
    free(chunks.list);

    return NULL;
}


static void
tf_atoms_block(tf_atoms_t *atoms, const tf_text_t *text,
    const tf_block_t *block)
{
    size_t       start, end, next;
    tf_taking_t  taking;

    if (block->kind == TF_BLOCK_PROSE) {
        for (start = block->start; start < block->end; start = next) {
            end = tf_sentence(text->data, start, block->end, &next);
            tf_atoms_put(atoms, text, block, start, end);
        }

        return;
    }

    if (block->kind != TF_BLOCK_FIELDS
        && tf_utf8_chars(text->data + block->start, block->end - block->start)
           <= TF_CHUNK_HARD)
    {
        tf_atoms_put(atoms, text, block, block->start, block->end);
        return;
    }

    taking.atoms = atoms;
    taking.text = text;
    taking.block = block;

    tf_unit_lines(text->data, block->kind == TF_BLOCK_LIST, block->start,
                  block->end, tf_atoms_line, &taking);
}


static void
tf_atoms_line(void *ctx, size_t start, size_t end)
{
    tf_taking_t  *taking = ctx;

    tf_atoms_put(taking->atoms, taking->text, taking->block, start, end);
}


/* Cuts what is too long for a chunk, at white space if there is any. */

static void
tf_atoms_put(tf_atoms_t *atoms, const tf_text_t *text,
    const tf_block_t *block, size_t start, size_t end)
{
    int     prose;
    size_t  limit, stop, n;

    prose = (block->kind == TF_BLOCK_PROSE);
    limit = prose ? TF_CHUNK_MAX : TF_CHUNK_HARD;

    while (end - start > limit) {

        /* limit characters, or end */

        for (stop = start, n = 0; stop < end; stop++) {
            if ((text->data[stop] & 0xc0) != 0x80 && n++ == limit) {
                break;
            }
        }

        if (stop == end) {
            break;
        }

        for (n = stop; n > start + (stop - start) / 2; n--) {
            if (text->data[n] == ' ' || text->data[n] == '\n') {
                stop = n;
                break;
            }
        }

        tf_atoms_add(atoms, block->section, prose, start, stop);

        start = stop;
        while (start < end && strchr(" \t\r\n", text->data[start]) != NULL) {
            start++;
        }
    }

    if (end > start) {
        tf_atoms_add(atoms, block->section, prose, start, end);
    }
}


static void
tf_atoms_add(tf_atoms_t *atoms, unsigned section, int prose, size_t start,
    size_t end)
{
    size_t      room;
    tf_atom_t  *list;

    if (atoms->n == atoms->room) {
        room = atoms->room ? atoms->room * 2 : 128;

        list = realloc(atoms->list, room * sizeof(tf_atom_t));
        if (list == NULL) {
            atoms->failed = 1;
            return;
        }

        atoms->list = list;
        atoms->room = room;
    }

    list = &atoms->list[atoms->n++];
    list->section = section;
    list->prose = prose != 0;
    list->start = start;
    list->end = end;
    list->chars = 0;
}


static int
tf_chunks_put(tf_chunks_t *chunks, const tf_atom_t *first,
    const tf_atom_t *last)
{
    size_t       room;
    tf_chunk_t  *list;

    if (chunks->n == chunks->room) {
        room = chunks->room ? chunks->room * 2 : 32;

        list = realloc(chunks->list, room * sizeof(tf_chunk_t));
        if (list == NULL) {
            return -1;
        }

        chunks->list = list;
        chunks->room = room;
    }

    list = &chunks->list[chunks->n++];
    list->section = first->section;
    list->start = first->start;
    list->end = last->end;

    return 0;
}


/* Where the chunk after [first, last] may start; last->end: no overlap. */

static size_t
tf_chunk_overlap(const tf_text_t *text, const tf_atom_t *first,
    const tf_atom_t *last)
{
    size_t            pos, chars;
    const tf_atom_t  *atom;

    chars = 0;

    for (atom = last; atom > first && atom->prose; atom--) {
        chars += atom->chars;

        if (chars >= TF_CHUNK_OVERLAP_MIN) {
            break;
        }
    }

    if (atom > first && atom->prose && chars <= 2 * TF_CHUNK_OVERLAP_MAX) {
        return atom->start;
    }

    if (!last->prose) {
        return (size_t) -1;
    }

    /* one long sentence: its last words */

    pos = last->end;
    chars = 0;

    while (pos > last->start && chars < TF_CHUNK_OVERLAP_MAX) {
        pos--;
        if ((text->data[pos] & 0xc0) == 0x80) {
            continue;
        }

        if (++chars >= TF_CHUNK_OVERLAP_MIN
            && (text->data[pos] == ' ' || text->data[pos] == '\n'))
        {
            return pos + 1;
        }
    }

    return tf_utf8_floor(text->data, pos);
}
