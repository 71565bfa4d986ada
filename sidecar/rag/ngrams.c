#include "rag/ngrams.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


#define TF_NGRAM_MIN    3
#define TF_NGRAM_MAX    5
#define TF_NGRAM_WORD   96          /* bytes of a word that count */
#define TF_NGRAM_IDF    16.0        /* steps of one */
#define TF_NGRAM_FULL   (TF_NGRAM_SLOTS / 4 * 3)

typedef void (*tf_ngram_pt)(tf_ngrams_t *g, uint64_t gram, double n);


/* FNV-1a, and what spreads it over all bits. */

static uint64_t
tf_ngram_hash(const char *s, size_t len)
{
    size_t    i;
    uint64_t  h;

    h = UINT64_C(14695981039346656037);

    for (i = 0; i < len; i++) {
        h ^= (unsigned char) s[i];
        h *= UINT64_C(1099511628211);
    }

    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);

    return h ^ h >> 33;
}


/* Three parts of a hash that have no bit in common. */

static inline size_t
tf_ngram_place(uint64_t gram)
{
    return gram % TF_NGRAM_DIM;
}


static inline size_t
tf_ngram_bucket(uint64_t gram)
{
    return (gram >> 20) % TF_NGRAM_BUCKETS;
}


static inline int
tf_ngram_plus(uint64_t gram)
{
    return (gram >> 40) & 1;
}


static void
tf_ngram_each(tf_ngrams_t *g, const char *word, size_t len, double n,
    tf_ngram_pt each)
{
    char      text[TF_NGRAM_WORD + 2];
    size_t    i, k, chars, size, at[TF_NGRAM_WORD + 3];

    if (len > TF_NGRAM_WORD) {
        for (len = TF_NGRAM_WORD; len && (word[len] & 0xc0) == 0x80; len--) {
            /* void */
        }
    }

    text[0] = '^';
    memcpy(text + 1, word, len);
    text[len + 1] = '$';
    size = len + 2;

    for (i = 0, chars = 0; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            at[chars++] = i;
        }
    }

    at[chars] = size;

    for (k = TF_NGRAM_MIN; k <= TF_NGRAM_MAX; k++) {
        for (i = 0; i + k <= chars; i++) {
            each(g, tf_ngram_hash(text + at[i], at[i + k] - at[i]), n);
        }
    }
}


void
tf_ngrams_reset(tf_ngrams_t *g)
{
    size_t  i;

    for (i = 0; i < g->nused; i++) {
        g->slots[g->used[i]].n = 0;
    }

    g->nused = 0;
}


static void
tf_ngram_add(tf_ngrams_t *g, uint64_t gram, double n)
{
    size_t            i;
    tf_ngram_slot_t  *slot;

    for (i = (gram >> 44) % TF_NGRAM_SLOTS; /* void */ ;
         i = (i + 1) % TF_NGRAM_SLOTS)
    {
        slot = &g->slots[i];

        if (slot->n > 0 && slot->gram != gram) {
            continue;
        }

        if (!(slot->n > 0)) {
            if (g->nused == TF_NGRAM_FULL) {
                return;
            }

            slot->gram = gram;
            g->used[g->nused++] = (uint16_t) i;
        }

        slot->n += (float) n;
        return;
    }
}


void
tf_ngrams_add(tf_ngrams_t *g, const char *word, size_t len, unsigned n)
{
    tf_ngram_each(g, word, len, n, tf_ngram_add);
}


int
tf_ngrams_vector(const tf_ngrams_t *g, const tf_ngram_idf_t *idf,
    tf_buf_t *out)
{
    double                  weight, sum, v[TF_NGRAM_DIM];
    size_t                  i;
    const tf_ngram_slot_t  *slot;

    memset(v, 0, sizeof(v));

    for (i = 0; i < g->nused; i++) {
        slot = &g->slots[g->used[i]];
        weight = sqrt(slot->n);

        if (idf->chunks > 0) {
            weight *= idf->idf[tf_ngram_bucket(slot->gram)] / TF_NGRAM_IDF;
        }

        v[tf_ngram_place(slot->gram)] += tf_ngram_plus(slot->gram) ? weight
                                                                   : -weight;
    }

    for (i = 0, sum = 0; i < TF_NGRAM_DIM; i++) {
        sum += v[i] * v[i];
    }

    if (!(sum > 0)) {
        return 0;
    }

    sum = TF_NGRAM_SCALE / sqrt(sum);

    for (i = 0; i < TF_NGRAM_DIM; i++) {
        tf_buf_printf(out, "%c%ld", i ? ',' : '[', lround(v[i] * sum));
    }

    tf_buf_append(out, "]", 1);

    return 1;
}


void
tf_ngrams_begin(tf_ngrams_t *g)
{
    memset(g->df, 0, sizeof(g->df));
}


static void
tf_ngram_count(tf_ngrams_t *g, uint64_t gram, double n)
{
    g->df[tf_ngram_bucket(gram)] += n;
}


void
tf_ngrams_count(tf_ngrams_t *g, const char *word, size_t len, double df)
{
    tf_ngram_each(g, word, len, df, tf_ngram_count);
}


/*
 * The words of a bucket are in df chunks all together, some of them in the
 * same ones: if they came by chance, 1 - exp(-df / chunks) of all have any.
 */

void
tf_ngrams_idf(const tf_ngrams_t *g, double chunks, tf_ngram_idf_t *idf)
{
    double  df, value;
    size_t  i;

    idf->chunks = chunks;

    for (i = 0; i < TF_NGRAM_BUCKETS; i++) {
        df = chunks * (1 - exp(-g->df[i] / chunks));
        value = TF_NGRAM_IDF * log(1 + (chunks - df + 0.5) / (df + 0.5));

        idf->idf[i] = (uint8_t) (value < 255 ? lround(value) : 255);
    }
}


tf_pg_status_t
tf_ngrams_load(tf_pg_t *pg, const char *collections, tf_ngram_idf_t *idf)
{
    int              row;
    char             number[16];
    double           chunks, *sum;
    size_t           i, len;
    PGresult        *res;
    const char      *params[2];
    unsigned char   *bytes;
    tf_pg_status_t   rc;

    memset(idf, 0, sizeof(tf_ngram_idf_t));

    (void) snprintf(number, sizeof(number), "%d", TF_NGRAM_COLLECTIONS);
    params[0] = collections;
    params[1] = number;

    rc = tf_pg_prepared(pg, &res, 0,
                        "SELECT n.chunks, n.idf FROM trifecta.ngram_idf n "
                        "WHERE $1::int[] IS NULL OR n.collection = "
                        "ANY ($1::int[]) ORDER BY n.chunks DESC, "
                        "n.collection LIMIT $2::int", 2, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    sum = calloc(TF_NGRAM_BUCKETS, sizeof(double));
    if (sum == NULL) {
        PQclear(res);
        pg->sqlstate[0] = '\0';
        (void) snprintf(pg->err, sizeof(pg->err), "out of memory");
        return TF_PG_ERROR;
    }

    for (row = 0; row < PQntuples(res); row++) {
        chunks = strtod(PQgetvalue(res, row, 0), NULL);
        bytes = PQunescapeBytea((unsigned char *) PQgetvalue(res, row, 1),
                                &len);

        if (bytes != NULL && len == TF_NGRAM_BUCKETS) {
            idf->chunks += chunks;

            for (i = 0; i < len; i++) {
                sum[i] += chunks * bytes[i];
            }
        }

        PQfreemem(bytes);
    }

    for (i = 0; i < TF_NGRAM_BUCKETS && idf->chunks > 0; i++) {
        idf->idf[i] = (uint8_t) lround(sum[i] / idf->chunks);
    }

    free(sum);
    PQclear(res);

    return TF_PG_OK;
}
