#ifndef TRIFECTA_CODE_H
#define TRIFECTA_CODE_H


#include <stddef.h>
#include <string.h>


/*
 * Code in a text of Markdown, in which "a[1]" is no mark of a citation: the
 * sidecar, which checks the marks, and the module, which annotates them, must
 * see the same.
 *
 * Three ticks and more at the begin of a line open a block, which as many
 * close wherever they stand, or the end of the text.  Any other ticks open
 * code within the line, if as many follow there within TF_CODE_LINE bytes.
 */

#define TF_CODE_LINE   256
#define TF_CODE_TICKS  64       /* that count */
#define TF_CODE_MORE   ((size_t) -1)


/*
 * At ticks: how many bytes are to be copied as they stand, or TF_CODE_MORE
 * when what follows decides and is not there yet ("ends": nothing follows).
 * *block has the ticks of the open block, or 0: inside one only the ticks are
 * the caller's to copy, and what is between is code.
 */

static inline size_t
tf_code_at(const char *s, size_t left, int line_start, int ends,
    unsigned *block)
{
    size_t  i, len, ticks;

    for (ticks = 0; ticks < left && ticks < TF_CODE_TICKS && s[ticks] == '`';
         ticks++)
    {
        /* void */
    }

    if (*block > 0) {
        if (ticks >= *block) {
            ticks = *block;
            *block = 0;
            return ticks;
        }

        return ticks == left && !ends ? TF_CODE_MORE : ticks;
    }

    if (ticks == left && ticks < TF_CODE_TICKS && !ends) {
        return TF_CODE_MORE;
    }

    if (ticks >= 3 && line_start) {
        *block = (unsigned) ticks;
        return ticks;
    }

    len = left < TF_CODE_LINE ? left : TF_CODE_LINE;

    for (i = ticks; i < len && s[i] != '\n'; i++) {
        if (i + ticks <= len && memcmp(s + i, s, ticks) == 0) {
            return i + ticks;
        }
    }

    /* it is none, if it is not closed where it should be */

    return i < len || len == TF_CODE_LINE || ends ? ticks : TF_CODE_MORE;
}


#endif /* TRIFECTA_CODE_H */
