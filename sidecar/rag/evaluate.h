#ifndef TF_RAG_EVALUATE_H
#define TF_RAG_EVALUATE_H


#include <stddef.h>


/*
 * Measures of retrieval and answers.  Pure.
 *
 * gains are the judgements of what was found, best first (0: not relevant);
 * ideal are all judgements of the question, in any order.
 */


/*
 * Normalized discounted cumulative gain of the first k, with linear gains and
 * log2(rank + 1) as discount, as trec_eval and BEIR compute it.  0 when there
 * is nothing to find.
 */
double tf_eval_ndcg(const double *gains, size_t n, const double *ideal,
    size_t nideal, size_t k);

/* The share of the relevant ones that is among the first k. */
double tf_eval_recall(const double *gains, size_t n, const double *ideal,
    size_t nideal, size_t k);

/* 1 / rank of the first relevant one of the first k, or 0. */
double tf_eval_rr(const double *gains, size_t n, size_t k);

/*
 * The area under the ROC curve: how often a positive one scores higher than a
 * negative one, ties counted half.  Sorts both; 0.5 when one is empty.
 */
double tf_eval_auc(double *positive, size_t npositive, double *negative,
    size_t nnegative);

/* The q-th part (0..1) of the values by the nearest rank; sorts them. */
double tf_eval_quantile(double *values, size_t n, double q);


#endif /* TF_RAG_EVALUATE_H */
