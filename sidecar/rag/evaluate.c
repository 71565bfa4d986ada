#include "rag/evaluate.h"

#include <math.h>
#include <stdlib.h>


static int
tf_eval_up(const void *one, const void *two)
{
    double  a = *(const double *) one, b = *(const double *) two;

    return (a > b) - (a < b);
}


static double
tf_eval_discount(size_t rank)
{
    return 1 / log2((double) rank + 2);
}


double
tf_eval_ndcg(const double *gains, size_t n, const double *ideal,
    size_t nideal, size_t k)
{
    double   dcg, best, *sorted;
    size_t   i;

    dcg = 0;
    best = 0;

    for (i = 0; i < n && i < k; i++) {
        dcg += gains[i] * tf_eval_discount(i);
    }

    sorted = malloc((nideal + 1) * sizeof(double));
    if (sorted == NULL) {
        return 0;
    }

    for (i = 0; i < nideal; i++) {
        sorted[i] = ideal[i];
    }

    qsort(sorted, nideal, sizeof(double), tf_eval_up);

    for (i = 0; i < nideal && i < k; i++) {
        best += sorted[nideal - 1 - i] * tf_eval_discount(i);
    }

    free(sorted);

    return best > 0 ? dcg / best : 0;
}


double
tf_eval_recall(const double *gains, size_t n, const double *ideal,
    size_t nideal, size_t k)
{
    size_t  i, found, all;

    found = 0;
    all = 0;

    for (i = 0; i < n && i < k; i++) {
        found += gains[i] > 0;
    }

    for (i = 0; i < nideal; i++) {
        all += ideal[i] > 0;
    }

    return all ? (double) found / (double) all : 0;
}


double
tf_eval_rr(const double *gains, size_t n, size_t k)
{
    size_t  i;

    for (i = 0; i < n && i < k; i++) {
        if (gains[i] > 0) {
            return 1 / (double) (i + 1);
        }
    }

    return 0;
}


double
tf_eval_auc(double *positive, size_t npositive, double *negative,
    size_t nnegative)
{
    double  sum;
    size_t  i, below, same;

    if (npositive == 0 || nnegative == 0) {
        return 0.5;
    }

    qsort(positive, npositive, sizeof(double), tf_eval_up);
    qsort(negative, nnegative, sizeof(double), tf_eval_up);

    sum = 0;
    below = 0;
    same = 0;

    for (i = 0; i < npositive; i++) {
        while (below < nnegative && negative[below] < positive[i]) {
            below++;
        }

        for (same = below;
             same < nnegative && negative[same] <= positive[i];
             same++)
        {
            /* void */
        }

        sum += (double) below + (double) (same - below) / 2;
    }

    return sum / ((double) npositive * (double) nnegative);
}


double
tf_eval_quantile(double *values, size_t n, double q)
{
    size_t  i;

    if (n == 0) {
        return 0;
    }

    qsort(values, n, sizeof(double), tf_eval_up);

    i = (size_t) ceil(q * (double) n);

    return values[i > 0 ? (i <= n ? i : n) - 1 : 0];
}
