#ifndef TF_RAG_MEM_TERMS_H
#define TF_RAG_MEM_TERMS_H


#include <stddef.h>
#include <stdint.h>


/*
 * Postings in memory: for each term the slots (places in a table of chunks)
 * that have it, ascending, and how often.
 *
 * A posting is one or two numbers of 7 bits a byte, low bits first: twice the
 * distance to the slot before, less one, plus 1 if the term is there more
 * than once; then how often, less two, if so.  Most take two bytes.  A list
 * only grows at its end: a slot that went stays in it until the lists are
 * renumbered.  A short list, and most are short, needs no memory but its
 * place in the table.
 */

#define TF_MEM_HERE  16

typedef struct {
    int64_t       term;                 /* 0: a free place */
    uint32_t      len;                  /* bytes of the list */
    uint32_t      next;                 /* lowest slot that may follow */
    union {
        uint8_t   here[TF_MEM_HERE];    /* if len is not more */
        struct {
            uint8_t   *data;
            uint32_t   size;
        } away;
    } at;
} tf_mem_list_t;

typedef struct {
    tf_mem_list_t  *lists;      /* open addressing */
    size_t          size;       /* a power of two, or 0 */
    size_t          used;
    size_t          away;       /* bytes of lists that are elsewhere */
} tf_mem_terms_t;

typedef struct {
    const uint8_t  *p;
    const uint8_t  *end;
    uint32_t        next;
} tf_mem_reader_t;


/* The slot is above all of this term; 0, or -1: no memory, all is spoilt. */
int tf_mem_terms_add(tf_mem_terms_t *terms, int64_t term, uint32_t slot,
    uint32_t tf);

/* 0 if there is no such term. */
int tf_mem_terms_read(const tf_mem_terms_t *terms, int64_t term,
    tf_mem_reader_t *reader);

/*
 * Gives every slot its new number, which is not above the old one and keeps
 * their order; TF_MEM_GONE takes it out.
 */
#define TF_MEM_GONE  UINT32_MAX
void tf_mem_terms_renumber(tf_mem_terms_t *terms, const uint32_t *slots);

void tf_mem_terms_free(tf_mem_terms_t *terms);
size_t tf_mem_terms_bytes(const tf_mem_terms_t *terms);


static inline uint64_t
tf_mem_number(tf_mem_reader_t *reader)
{
    unsigned  shift;
    uint64_t  n;

    n = *reader->p & 0x7f;

    for (shift = 7; *reader->p++ & 0x80; shift += 7) {
        n |= (uint64_t) (*reader->p & 0x7f) << shift;
    }

    return n;
}


/* The next posting; 0 at the end. */

static inline int
tf_mem_read(tf_mem_reader_t *reader, uint32_t *slot, uint32_t *tf)
{
    uint64_t  n;

    if (reader->p == reader->end) {
        return 0;
    }

    n = tf_mem_number(reader);

    *slot = reader->next + (uint32_t) (n >> 1);
    *tf = (n & 1) ? (uint32_t) tf_mem_number(reader) + 2 : 1;
    reader->next = *slot + 1;

    return 1;
}


#endif /* TF_RAG_MEM_TERMS_H */
