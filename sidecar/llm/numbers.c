#include "llm/wire.h"

#include <math.h>
#include <string.h>

#include <openssl/evp.h>


/*
 * Rows of numbers from a server, none of which is trusted.  A number that is
 * not finite would spoil each comparison with it, and a vector of zeros has
 * no direction: both are a broken answer.
 */


static void
tf_numbers_array(tf_llm_numbers_t *numbers, float *row, const json_t *data)
{
    size_t         i;
    double         x;
    const json_t  *one;

    if (json_array_size(data) != numbers->width) {
        numbers->broken = "a vector of another dimension";
        return;
    }

    for (i = 0; i < numbers->width; i++) {
        one = json_array_get(data, i);
        x = json_number_value(one);

        if (!json_is_number(one) || !(fabs(x) < 1e30)) {
            numbers->broken = "a vector with what is no number";
            return;
        }

        row[i] = (float) x;
    }
}


static void
tf_numbers_base64(tf_llm_numbers_t *numbers, float *row, const json_t *data)
{
    int              n, rest;
    size_t           i, len, done, piece, want;
    uint32_t         bits;
    const char      *text;
    unsigned char    out[3072], b[4];

    text = json_string_value(data);
    len = json_string_length(data);
    want = numbers->width * 4;

    if (len != (want + 2) / 3 * 4) {
        numbers->broken = "a vector of another dimension";
        return;
    }

    /* in pieces that end with a whole number */

    for (done = 0, i = 0; done < len; done += piece) {
        piece = len - done < 4096 ? len - done : 4096;
        n = EVP_DecodeBlock(out, (const unsigned char *) text + done,
                            (int) piece);

        if (n < 0) {
            numbers->broken = "a vector that is no base64";
            return;
        }

        for (rest = 0; rest + 4 <= n && i < numbers->width; rest += 4, i++) {
            memcpy(b, out + rest, 4);
            bits = (uint32_t) b[0] | (uint32_t) b[1] << 8
                   | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
            memcpy(&row[i], &bits, sizeof(bits));

            if (!(fabsf(row[i]) < 1e30F)) {
                numbers->broken = "a vector with what is no number";
                return;
            }
        }
    }

    if (i < numbers->width) {
        numbers->broken = "a vector of another dimension";
    }
}


void
tf_llm_read_row(tf_llm_numbers_t *numbers, size_t row, const json_t *data)
{
    float   *at;
    double   sum;
    size_t   i;

    if (row >= numbers->rows) {
        numbers->broken = "more vectors than texts";
        return;
    }

    if (numbers->seen[row]) {
        numbers->broken = "a text's vector twice";
        return;
    }

    at = numbers->of + row * numbers->width;

    if (json_is_array(data)) {
        tf_numbers_array(numbers, at, data);

    } else if (json_is_string(data)) {
        tf_numbers_base64(numbers, at, data);

    } else {
        numbers->broken = "a vector that is none";
    }

    if (numbers->broken != NULL) {
        return;
    }

    /* of length 1, so that the inner product is the cosine */

    for (i = 0, sum = 0; i < numbers->width; i++) {
        sum += (double) at[i] * at[i];
    }

    if (!(sum > 0)) {
        numbers->broken = "a vector of zeros";
        return;
    }

    for (i = 0, sum = sqrt(sum); i < numbers->width; i++) {
        at[i] = (float) (at[i] / sum);
    }

    numbers->seen[row] = 1;
    numbers->nseen++;
}
