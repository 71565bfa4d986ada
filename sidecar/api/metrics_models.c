#include "api/metrics.h"


/*
 * What the limits of models have done.  A model without limits has no series:
 * there is nothing that it could be told by.
 */

void
tf_metrics_of_models(const tf_llm_models_t *models, tf_buf_t *out)
{
    int                    any;
    size_t                 i;
    unsigned long          waited, refused;
    const tf_llm_model_t  *model;

    any = 0;

    for (i = 0; i < models->n; i++) {
        model = &models->list[i];

        if (model->limits == NULL) {
            continue;
        }

        if (!any++) {
            tf_metrics_head(out, "trifecta_model_limited_total", "counter",
                            "requests to a model's server for which its "
                            "limits had no room at once");
        }

        tf_llm_limits_count(model->limits, &waited, &refused);

        tf_buf_printf(out, "trifecta_model_limited_total{model=\"%s\","
                      "outcome=\"waited\"} %lu\n"
                      "trifecta_model_limited_total{model=\"%s\","
                      "outcome=\"refused\"} %lu\n",
                      model->name, waited, model->name, refused);
    }
}
