#include <math.h>
#include <string.h>
#include <strings.h>

#include "rag/worth.h"


#define tf_is_inside(c)                                                       \
    (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z')                 \
     || ((c) >= '0' && (c) <= '9') || (c) == '_' || ((c) & 0x80))


static double tf_worth_unit(const tf_rag_found_t *found, const char *question,
    double best, const tf_rag_unit_t *unit, uint64_t before);
static double tf_worth_about(const tf_rag_found_t *found,
    const tf_rag_hit_t *hit);


void
tf_rag_worth(tf_rag_found_t *found, const char *question)
{
    double          own, best;
    size_t          i;
    uint64_t        before;
    tf_rag_hit_t   *hit;
    tf_rag_unit_t  *unit;

    best = 0;

    for (i = 0; i < found->nhits; i++) {
        hit = &found->hits[i];
        hit->about = tf_worth_about(found, hit);
        hit->said = 0;

        if (hit->score > best) {
            best = hit->score;
        }
    }

    /* terms that were too common to search by count here */

    for (i = 0; i < found->nunits; i++) {
        unit = &found->units[i];
        hit = &found->hits[unit->hit];
        hit->terms |= unit->terms;

        own = tf_rag_coverage(found, unit->terms);
        if (own > hit->said) {
            hit->said = own;
        }
    }

    for (i = 0; i < found->nunits; i++) {
        unit = &found->units[i];
        before = i > 0 && unit[-1].hit == unit->hit ? unit[-1].terms : 0;

        unit->score = tf_worth_unit(found, question, best, unit, before);
    }

    for (i = 0; i < found->nhits; i++) {
        hit = &found->hits[i];
        hit->sure = sqrt(hit->about)
                    * ((1 - TF_WORTH_UNIT) * tf_rag_coverage(found, hit->terms)
                       + TF_WORTH_UNIT * hit->said);

        if (hit->sure > 1) {
            hit->sure = 1;
        }
    }
}


static double
tf_worth_unit(const tf_rag_found_t *found, const char *question, double best,
    const tf_rag_unit_t *unit, uint64_t before)
{
    double               own, score, len;
    size_t               n;
    uint64_t             around;
    const char          *text, *colon;
    const tf_rag_hit_t  *hit;

    hit = &found->hits[unit->hit];
    text = hit->body + unit->start;
    n = unit->end - unit->start;
    len = (double) n;

    own = tf_rag_coverage(found, unit->terms);

    if (own <= 0) {
        return 0;
    }

    before &= ~unit->terms;
    around = hit->terms & ~unit->terms & ~before;

    score = own + TF_WORTH_BEFORE * tf_rag_coverage(found, before)
            + TF_WORTH_AROUND * tf_rag_coverage(found, around)
            + TF_WORTH_SUBJECT * tf_rag_coverage(found, hit->subject);

    if (best > 0) {
        score += TF_WORTH_RANK * hit->score / best;
    }

    colon = memchr(text, ':', n < TF_WORTH_FIELD_MAX ? n : TF_WORTH_FIELD_MAX);

    if (colon != NULL && tf_rag_names(question, text, (size_t) (colon - text)))
    {
        score += TF_WORTH_FIELD;
    }

    if (len > TF_WORTH_LONG) {
        score /= 1 + TF_WORTH_LENGTH * log2(len / TF_WORTH_LONG);
    }

    if (len < TF_WORTH_SHORT) {
        score /= 2;
    }

    return score;
}


/* What BM25 gives the chunk for its terms, to what they weigh. */

static double
tf_worth_about(const tf_rag_found_t *found, const tf_rag_hit_t *hit)
{
    double  weight, about;
    size_t  i;

    weight = 0;

    for (i = 0; i < found->nterms; i++) {
        if (hit->terms & (UINT64_C(1) << i)) {
            weight += found->terms[i].weight;
        }
    }

    about = weight > 0 ? hit->score / weight : 0;

    if (about < TF_WORTH_ABOUT_MIN) {
        return TF_WORTH_ABOUT_MIN;
    }

    return about < TF_WORTH_ABOUT_MAX ? about : TF_WORTH_ABOUT_MAX;
}


double
tf_rag_coverage(const tf_rag_found_t *found, uint64_t terms)
{
    size_t  i;
    double  all, have;

    all = 0;
    have = 0;

    for (i = 0; i < found->nterms; i++) {
        all += found->terms[i].info;

        if (terms & (UINT64_C(1) << i)) {
            have += found->terms[i].info * found->terms[i].share;
        }
    }

    return all > 0 ? have / all : 0;
}


int
tf_rag_names(const char *question, const char *phrase, size_t len)
{
    const char  *p, *last;

    if (len == 0 || len > strlen(question)) {
        return 0;
    }

    last = question + strlen(question) - len;

    for (p = question; p <= last; p++) {
        if (strncasecmp(p, phrase, len) == 0
            && (p == question || !tf_is_inside(p[-1]))
            && !tf_is_inside(p[len]))
        {
            return 1;
        }
    }

    return 0;
}
