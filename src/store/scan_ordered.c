#include "src/store/scan_ordered.h"

#include "src/base/status.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_FIRST                                                                                                    \
    128u /* or the limit; then twice as many each time, up to ORDERED_BATCH_KEYS: most ranges are short */

struct ordered_scan {
    cairn *store;
    store_moment moment;
    bool reverse, is_empty, may_expire;
    like *pattern;           /* NULL: none, or its prefix is all of it */
    key_bound position, end; /* in the walk's direction; what lies before the position was given */
    bool file_done;
    bool page_due; /* the overlay's part of this batch is still to be read */
    size_t batch;  /* keys to be read next */
    ordered_cursor *cursor;
    uint64_t generation; /* of the file that the cursor walks */
    const ordered_key *keys;
    size_t count, next;
    bool is_clean;     /* the moment has these keys and no other ones between them */
    overlay_page page; /* of what lies between the position and the last of `keys` */
    size_t page_next;
};

/* ---- What is asked for ---- */

static bool begins_with(const void *bytes, size_t size, const void *prefix, size_t prefix_size) {
    return size >= prefix_size && (prefix_size == 0 || memcmp(bytes, prefix, prefix_size) == 0);
}

/* The longer one of both prefixes, when it begins with the other; else no key has both. */
static void take_prefix(ordered_scan *s, key_range *range, const void *prefix, size_t size) {
    if (range->prefix == NULL || begins_with(prefix, size, range->prefix, range->prefix_size)) {
        range->prefix = prefix;
        range->prefix_size = size;
    } else if (!begins_with(range->prefix, range->prefix_size, prefix, size)) {
        s->is_empty = true;
    }
}

static int take_pattern(ordered_scan *s, key_range *range, const cairn_scan_options *o, cairn_error *error) {
    uint8_t escape = o->like_escape == 0 ? '\\' : (uint8_t)o->like_escape;
    if (o->like == NULL) return CAIRN_OK;
    int rc = like_compile(&s->pattern, o->like, o->like_size, escape, error);
    if (rc != CAIRN_OK) return rc;
    size_t size;
    const void *prefix = like_prefix(s->pattern, &size);
    take_prefix(s, range, prefix, size);
    return CAIRN_OK;
}

static int take_options(ordered_scan *s, const cairn_scan_options *o, cairn_error *error) {
    key_range range = {.lower = o->lower,
                       .upper = o->upper,
                       .prefix = o->prefix,
                       .lower_size = o->lower_size,
                       .upper_size = o->upper_size,
                       .prefix_size = o->prefix_size,
                       .lower_exclusive = o->lower_exclusive,
                       .upper_exclusive = o->upper_exclusive,
                       .reverse = o->reverse};
    s->reverse = o->reverse;
    int rc = take_pattern(s, &range, o, error);
    if (rc != CAIRN_OK) return rc;
    rc = key_range_bounds(&range, &s->position, &s->end);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory for a scan");
    if (s->pattern != NULL && like_is_prefix(s->pattern)) {
        like_free(s->pattern); /* the bounds are all of it */
        s->pattern = NULL;
    }
    return CAIRN_OK;
}

/* The index knows of changes since it was there, but not of those before. */
static int wait_for_index(cairn *store, store_moment moment, cairn_error *error) {
    uint64_t since;
    int rc = store_ordered_wait(store, &since, error);
    if (rc != CAIRN_OK || moment.number >= since) return rc;
    return status_set(error, CAIRN_UNSUPPORTED, "the snapshot is from before the ordered index was added");
}

int ordered_scan_open(ordered_scan **out, cairn *store, store_moment moment, const cairn_scan_options *options,
                      cairn_error *error) {
    int rc = wait_for_index(store, moment, error);
    if (rc == CAIRN_OK) rc = store_ordered_catch_up(store, error);
    if (rc != CAIRN_OK) return rc;
    ordered_scan *s = calloc(1, sizeof *s);
    if (s == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a scan");
    s->store = store;
    s->moment = moment;
    s->batch = BATCH_FIRST;
    s->may_expire = atomic_load(&store->expiring) > 0;
    rc = take_options(s, options, error);
    /* A pattern may pass over any number of keys for one. */
    if (options->limit > 0 && s->pattern == NULL) s->batch = min_u64(options->limit, BATCH_FIRST);
    if (rc == CAIRN_OK) {
        *out = s;
    } else {
        ordered_scan_close(s);
    }
    return rc;
}

void ordered_scan_close(ordered_scan *s) {
    if (s == NULL) return;
    ordered_cursor_close(s->cursor);
    overlay_page_release(&s->page);
    key_bound_release(&s->position);
    key_bound_release(&s->end);
    like_free(s->pattern);
    free(s);
}

/* ---- From key to key ---- */

/* A cursor from the position on. */
static int open_cursor(ordered_scan *s, ordered *file, cairn_error *error) {
    const key_bound *lower = s->reverse ? &s->end : &s->position, *upper = s->reverse ? &s->position : &s->end;
    key_range range = {.lower = lower->bytes,
                       .lower_size = lower->size,
                       .lower_exclusive = lower->exclusive,
                       .upper = upper->bytes,
                       .upper_size = upper->size,
                       .upper_exclusive = upper->exclusive,
                       .reverse = s->reverse};
    ordered_cursor_close(s->cursor);
    s->cursor = NULL;
    return ordered_cursor_open(&s->cursor, file, &range, error);
}

/* The file, which may have been replaced since; NULL where the overlay has everything. */
static int enter(ordered_scan *s, ordered **file, uint64_t *generation, cairn_error *error) {
    for (;;) {
        int rc = wait_for_index(s->store, s->moment, error);
        if (rc == CAIRN_OK) rc = store_ordered_catch_up(s->store, error);
        if (rc != CAIRN_OK) return rc;
        *file = store_ordered_enter(s->store, generation);
        if (*file != NULL) return CAIRN_OK;
        if (s->store->options.read_only && !atomic_load(&s->store->ordered.has_replayed)) return CAIRN_OK;
    }
}

/* *of_file: what failed is the file, which is then lost. */
static int read_file_once(ordered_scan *s, bool *of_file, cairn_error *error) {
    uint64_t generation;
    cairn_error why;
    ordered *file;
    *of_file = false;
    int rc = enter(s, &file, &generation, error);
    if (rc != CAIRN_OK) return rc;
    s->file_done = file == NULL;
    if (s->file_done) return CAIRN_OK;
    if (s->cursor == NULL || s->generation != generation) rc = open_cursor(s, file, &why);
    s->generation = generation;
    if (rc == CAIRN_OK) rc = ordered_next(s->cursor, s->batch, &s->keys, &s->count, &why);
    store_ordered_leave(s->store);
    if (rc == CAIRN_OK) return rc;
    s->count = 0;
    s->file_done = rc == CAIRN_DONE;
    if (rc == CAIRN_DONE) return CAIRN_OK;
    *of_file = rc != CAIRN_NO_MEMORY;
    if (*of_file) store_ordered_lose(s->store, generation, &why);
    if (error != NULL) *error = why;
    return rc;
}

/* A file that is found damaged is built anew, and then the scan goes on in it. Once: what damages that one as well is
 * not over yet. */
static int read_file(ordered_scan *s, cairn_error *error) {
    bool of_file;
    int rc = read_file_once(s, &of_file, error);
    if (rc == CAIRN_CORRUPT && of_file) rc = read_file_once(s, &of_file, error);
    s->batch = min_u64(2 * s->batch, ORDERED_BATCH_KEYS);
    return rc;
}

static int set_position(ordered_scan *s, const void *bytes, size_t size, cairn_error *error) {
    int rc = key_bound_set(&s->position, bytes, size, true);
    return rc == CAIRN_OK ? rc : status_set(error, rc, "no memory for a scan");
}

/* The overlay from the position to the last key of the batch, or to the end behind the last batch. */
static int read_overlay(ordered_scan *s, cairn_error *error) {
    key_bound to = s->end;
    if (s->count > 0) {
        const ordered_key *last = &s->keys[s->count - 1];
        to = (key_bound){.bytes = (uint8_t *)last->bytes, .size = last->size}; /* only read */
    }
    s->page_next = 0;
    int rc = overlay_list(s->store->ordered.changes, &s->position, &to, s->reverse, &s->page);
    if (rc != CAIRN_OK) return status_set(error, rc, "no memory for a scan");
    rc = wait_for_index(s->store, s->moment, error); /* dropped meanwhile, it has forgotten what it had */
    s->page_due = rc != CAIRN_OK;
    /* Behind all of that: see scan_ordered.h. */
    s->is_clean =
        rc == CAIRN_OK && s->page.count == 0 && !s->may_expire && !side_table_serves(s->store->side, s->moment.number);
    return rc;
}

/* The next batch, when all of this one was given. CAIRN_DONE: there is none. */
static int refill(ordered_scan *s, cairn_error *error) {
    int rc = CAIRN_OK;
    if (s->page_due) return read_overlay(s, error);
    if (s->page.more) { /* the rest of the overlay's part of this batch */
        const overlay_key *last = &s->page.keys[s->page.count - 1];
        rc = set_position(s, last->bytes, last->size, error);
        s->page_due = rc == CAIRN_OK;
        return rc == CAIRN_OK ? read_overlay(s, error) : rc;
    }
    if (s->file_done) return CAIRN_DONE;
    if (s->count > 0) {
        const ordered_key *last = &s->keys[s->count - 1];
        rc = set_position(s, last->bytes, last->size, error);
        if (rc != CAIRN_OK) return rc;
    }
    s->count = s->next = s->page.count = s->page_next = 0;
    s->is_clean = false;
    rc = read_file(s, error);
    if (rc != CAIRN_OK) return rc;
    s->page_due = true;
    return read_overlay(s, error);
}

typedef struct candidate {
    const void *bytes;
    size_t size;
    bool erased; /* as the overlay has it */
} candidate;

/* The next one of file and overlay together. */
static int next_candidate(ordered_scan *s, candidate *c, cairn_error *error) {
    for (;;) {
        const ordered_key *a = s->next < s->count ? &s->keys[s->next] : NULL;
        const overlay_key *b = s->page_next < s->page.count ? &s->page.keys[s->page_next] : NULL;
        if (s->page_due || (b == NULL && (a == NULL || s->page.more))) {
            int rc = refill(s, error);
            if (rc != CAIRN_OK) return rc;
            continue;
        }
        int order = b == NULL ? -1 : a == NULL ? 1 : key_compare(a->bytes, a->size, b->bytes, b->size);
        if (a != NULL && b != NULL && s->reverse) order = -order;
        *c = order < 0 ? (candidate){a->bytes, a->size, false} : (candidate){b->bytes, b->size, b->erased};
        s->next += order <= 0;
        s->page_next += order >= 0;
        return CAIRN_OK;
    }
}

/* ---- Whether the moment has it ---- */

/* Whether one of these records is the key's, and had not expired. 1: yes; 0: no; negative: a code. Inside the epoch. */
static int look_among(const ordered_scan *s, const location *list, size_t count, const candidate *c,
                      cairn_error *error) {
    store_found found;
    int rc = store_find_among(s->store, list, count, s->moment.now_ms, c->bytes, c->size, &found, error);
    int there = rc != CAIRN_OK ? rc : found.where != LOCATION_NONE && !found.expired;
    store_found_release(&found);
    return there;
}

static bool any_expires(const location *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (location_expires(list[i])) return true;
    }
    return false;
}

/* Where nothing has changed under the hash since, file and overlay say it. Likewise; inside the epoch. */
static int look_up(const ordered_scan *s, const candidate *c, cairn_error *error) {
    location few[STORE_CANDIDATES_FEW], *more;
    size_t count;
    bool saved;
    uint64_t hash = store_hash(s->store, c->bytes, c->size).index;
    int there = store_snapshot_candidates(s->store, s->moment, hash, few, &more, &count, &saved);
    if (there != CAIRN_OK) return status_set(error, there, "no memory for a look-up");
    const location *list = more != NULL ? more : few;
    if (count == 0 || (!saved && c->erased)) {
        there = 0;
    } else {
        there = saved || any_expires(list, count) ? look_among(s, list, count, c, error) : 1;
    }
    free(more);
    return there;
}

static int was_there(const ordered_scan *s, const candidate *c, cairn_error *error) {
    if (!s->may_expire && !side_table_serves(s->store->side, s->moment.number)) return !c->erased;
    epoch_guard guard = epoch_enter(s->store->readers);
    int there = look_up(s, c, error);
    epoch_exit(s->store->readers, guard);
    return there;
}

static bool is_wanted(const ordered_scan *s, const void *bytes, size_t size) {
    return s->pattern == NULL || like_matches(s->pattern, bytes, size);
}

/* The next one of a clean batch; false: it has no more. */
static bool next_clean(ordered_scan *s, scan_key *key) {
    while (s->is_clean && s->next < s->count) {
        *key = s->keys[s->next++];
        if (is_wanted(s, key->bytes, key->size)) return true;
    }
    return false;
}

int ordered_scan_next(ordered_scan *s, scan_key *key, cairn_error *error) {
    candidate c;
    if (s->is_empty) return CAIRN_DONE;
    for (;;) {
        if (next_clean(s, key)) return CAIRN_OK;
        int rc = next_candidate(s, &c, error);
        if (rc != CAIRN_OK) return rc;
        if (!is_wanted(s, c.bytes, c.size)) continue;
        int there = was_there(s, &c, error);
        if (there < 0) return there;
        if (there == 0) continue;
        *key = (scan_key){c.bytes, c.size};
        return CAIRN_OK;
    }
}

const scan_key *ordered_scan_take(ordered_scan *s, size_t *count) {
    *count = s->is_clean && s->pattern == NULL ? s->count - s->next : 0;
    if (*count == 0) return NULL;
    s->next = s->count;
    return s->keys + s->count - *count;
}
