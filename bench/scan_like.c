#include "bench/scan_engine.h"

/* Where it does not match, the last run takes one byte more. */
bool scan_like(const scan_query *query, const char *key, size_t size) {
    const char *p = query->like, *p_end = p + query->like_size, *k = key, *k_end = key + size;
    const char *run = NULL, *run_begin = NULL; /* the pattern behind the last `%`, and what it is tried at */
    while (k < k_end) {
        bool escaped = p + 1 < p_end && *p == '\\';
        if (p < p_end && *p == '%') {
            run = ++p;
            run_begin = k;
        } else if (p < p_end && (escaped ? p[1] == *k : *p == '_' || *p == *k)) {
            p += escaped ? 2 : 1;
            k++;
        } else if (run != NULL) {
            p = run;
            k = ++run_begin;
        } else {
            return false;
        }
    }
    while (p < p_end && *p == '%') {
        p++;
    }
    return p == p_end;
}
