#include "src/store/scan_ahead.h"

#include <stdlib.h>

#define SLOW_NS 20000u  /* no device is faster, and from memory it takes a tenth */
#define READS_FIRST 16u /* all of them are timed: most ranges are short */
#define TIMED_OF 4u     /* later one of so many */
#define REACH_FIRST 32u
#define BYTES_MAX ((uint64_t)8 << 20)        /* that the kernel was told of ahead of the scan */
#define RECORD_BYTES_MAX ((uint64_t)1 << 20) /* of a longer one the rest is read in order */
#define HEAD_BYTES ((uint64_t)4096)
#define PAGE_BYTES ((uint64_t)4096)
#define TOLD_MAX ((uint64_t)16 << 20) /* by one scan */

bool scan_ahead_wants_time(scan_ahead *a) {
    unsigned n = a->reads++;
    if (a->told >= TOLD_MAX) return false;
    return a->reach > 0 || n < READS_FIRST || n % TIMED_OF == 0;
}

bool scan_ahead_took(scan_ahead *a, uint64_t ns) {
    if (ns < SLOW_NS) {
        if (a->left > 0) a->left--;
        if (a->left == 0) a->reach = 0;
        return false;
    }
    bool begins = a->reach == 0;
    a->reach = begins ? REACH_FIRST : min_u64(2 * a->reach, SCAN_AHEAD_KEYS);
    a->left = a->reach;
    return begins;
}

/* The bytes; 0: not told of it. */
static uint64_t tell_of(cairn *store, store_moment moment, const scan_key *key, uint64_t most) {
    location few[STORE_CANDIDATES_FEW], *more;
    size_t count;
    bool saved;
    uint64_t bytes = 0, hash = store_hash(store, key->bytes, key->size).index;
    epoch_guard guard = epoch_enter(store->readers);
    if (store_snapshot_candidates(store, moment, hash, few, &more, &count, &saved) == CAIRN_OK) {
        if (count == 1) bytes = vlog_will_need(store->log, few[0], most);
        free(more);
    }
    epoch_exit(store->readers, guard);
    return bytes;
}

void scan_ahead_tell(scan_ahead *a, cairn *store, store_moment moment, const scan_key *keys, size_t count, bool whole) {
    if (count > a->following) a->untold = count; /* another batch */
    a->following = count;
    a->untold = min_u64(a->untold, count);
    size_t reach = min_u64(a->reach, count), i = count - a->untold;
    uint64_t most = whole ? RECORD_BYTES_MAX : HEAD_BYTES, told = i * a->bytes;
    for (; i < reach && told < BYTES_MAX; i++) {
        uint64_t bytes = tell_of(store, moment, &keys[i], most);
        told += bytes;
        a->told += round_up(bytes, PAGE_BYTES);
        if (bytes > 0) a->bytes = bytes;
        a->untold = count - i - 1;
    }
}
