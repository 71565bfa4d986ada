#include <trifecta/fault.h>


#ifdef TF_FAULTS

#include <stdatomic.h>


/* Written once, by main() while it is alone. */

static tf_fault_t     tf_fault_armed = { TF_FAULT_NPOINTS, 0, 0, 0 };
static atomic_ulong   tf_fault_passed;


void
tf_fault_start(void)
{
    const char  *text, *wrong;

    text = getenv("TRIFECTA_FAULT");

    if (text != NULL && strcmp(text, "list") == 0) {
        tf_fault_list(stdout);
        exit(0);
    }

    wrong = tf_fault_parse(&tf_fault_armed, text);

    if (wrong != NULL) {
        (void) fprintf(stderr, "trifecta: TRIFECTA_FAULT=%s: %s\n", text,
                       wrong);
        exit(2);
    }
}


void
tf_fault_pass(unsigned point)
{
    if (point == tf_fault_armed.point
        && atomic_fetch_add(&tf_fault_passed, 1) + 1 == tf_fault_armed.nth)
    {
        tf_fault_act(&tf_fault_armed);
    }
}


#endif /* TF_FAULTS */
