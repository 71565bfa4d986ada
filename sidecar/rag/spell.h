#ifndef TF_RAG_SPELL_H
#define TF_RAG_SPELL_H


#include <stddef.h>
#include <stdint.h>


/*
 * Words that are nearly the same: which of those that a collection has may a
 * word mean that it does not have.
 *
 * The distance of two words is the number of characters to put in, take out or
 * exchange, and of neighbours to swap.  A word of 5 characters may be 1 away,
 * one of 8 may be 2, and so may a shorter one that has the same letters in
 * another order; a word of 4 has to have the same letters, or "word" were
 * "work".  Shorter words, numbers, and what has a digit or a sign in it mean
 * what they say, and one character of a script without spaces is too much of
 * a word.
 *
 * To find them in an ordered list without reading all of it, a word has
 * ranges: everything that begins as it does, or as it would with one error
 * among the first three characters.  Two errors at the very beginning are not
 * found so.
 */

#define TF_SPELL_LEAST  4
#define TF_SPELL_MOST   32      /* characters */
#define TF_SPELL_BYTES  24      /* of the end of a range */

typedef struct {
    uint32_t    c[TF_SPELL_MOST];
    size_t      n;
} tf_spell_t;

typedef void (*tf_spell_range_pt)(void *arg, const char *low,
    const char *high);


/* 0, or -1: the word is none whose spelling can be forgiven. */
int tf_spell_read(tf_spell_t *word, const char *text, size_t len);

/* How far the other is away; 0: it is the same, -1: it is another word. */
int tf_spell_compare(const tf_spell_t *word, const tf_spell_t *other);

/* The ranges [low, high) that may have what is meant. */
void tf_spell_ranges(const tf_spell_t *word, tf_spell_range_pt range,
    void *arg);


#endif /* TF_RAG_SPELL_H */
