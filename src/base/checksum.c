#include "src/base/checksum.h"

#include "src/base/check.h"

/* The streaming state is laid out in checksum_state, so its definition is needed; all calls go to the shared library.
 */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#if defined(__x86_64__)
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
/* libxxhash.so has the dispatching functions, Debian 12's libxxhash.a has not: a wholly static program takes the plain
 * ones. Both give the same sums. */
#pragma weak XXH3_64bits_withSeed_dispatch
#pragma weak XXH3_64bits_update_dispatch
#define DISPATCHED(function) (function##_dispatch != NULL ? function##_dispatch : function)
#else
#define DISPATCHED(function) function
#endif

_Static_assert(sizeof(XXH3_state_t) <= sizeof(checksum_state), "checksum_state holds an XXH3_state_t");

uint64_t checksum(const void *data, size_t size, uint64_t seed) {
    return DISPATCHED(XXH3_64bits_withSeed)(data, size, seed);
}

void checksum_begin(checksum_state *state, uint64_t seed) {
    CHECK(XXH3_64bits_reset_withSeed((XXH3_state_t *)state, seed) == XXH_OK);
}

void checksum_add(checksum_state *state, const void *data, size_t size) {
    CHECK(DISPATCHED(XXH3_64bits_update)((XXH3_state_t *)state, data, size) == XXH_OK);
}

uint64_t checksum_end(const checksum_state *state) { return XXH3_64bits_digest((const XXH3_state_t *)state); }
