/* Building the file of the ordered index from the records themselves, while the store goes on. */
#include "src/base/status.h"
#include "src/store/listing.h"
#include "src/store/store.h"

#define PROGRESS_KEYS 1024u
#define SHRINK_BYTES ((uint64_t)1 << 20) /* a file below that is left as it is */

typedef struct building {
    cairn *store;
    const cairn_index_options *options; /* NULL: nobody looks on */
    bool in_background;
    ordered_build *file;
    listing all;
    uint64_t unreadable;
} building;

static int check_progress(const building *b, cairn_error *error) {
    cairn_progress progress = {.done = b->all.next, .total = b->all.count};
    bool stop = b->in_background && atomic_load(&b->store->upkeep.stopping);
    if (!stop && b->options != NULL && b->options->progress != NULL) {
        stop = b->options->progress(&progress, b->options->ctx) != 0;
    }
    return stop ? status_set(error, CAIRN_CANCELLED, "building the ordered index was cancelled") : CAIRN_OK;
}

/* A record whose key cannot be read is left out: it can be found by no key either. */
static int add_next(building *b, cairn_error *error) {
    vlog_head head;
    head.bytes = head.inline_bytes;
    int rc = listing_next(&b->all, true, &head, error);
    if (rc == CAIRN_OK) rc = ordered_build_add(b->file, vlog_head_key(&head), head.header.key_size, error);
    if (rc == CAIRN_CORRUPT) {
        b->unreadable++;
        rc = CAIRN_OK;
    }
    vlog_head_release(&head);
    return rc;
}

static int add_all(building *b, cairn_error *error) {
    int rc = CAIRN_OK;
    while (rc == CAIRN_OK) {
        if (b->all.next % PROGRESS_KEYS == 0) rc = check_progress(b, error);
        if (rc == CAIRN_OK) rc = add_next(b, error);
    }
    if (rc != CAIRN_DONE) return rc;
    if (b->unreadable > 0) {
        store_say(b->store, CAIRN_LOG_ERROR, "the ordered index lacks the keys of %llu damaged records",
                  (unsigned long long)b->unreadable);
    }
    return check_progress(b, error);
}

/* Every change before the place is in the hash index, and so in the list, when the list's snapshot is open. */
static int build(building *b, cairn_error *error) {
    cairn *store = b->store;
    ordered_options options = store_ordered_options(store);
    uint64_t place = store_replay_start(store);
    int rc = listing_open(&b->all, store, NULL, error);
    if (rc == CAIRN_OK) rc = ordered_build_begin(&b->file, store->dir, &options, error);
    if (rc == CAIRN_OK) {
        rc = add_all(b, error);
        if (rc != CAIRN_OK) ordered_build_abort(b->file);
    }
    listing_close(&b->all);
    /* A file must not be ahead of the log. */
    if (rc == CAIRN_OK) {
        rc = vlog_sync(store->log, vlog_next_place(store->log), error);
        if (rc != CAIRN_OK) ordered_build_abort(b->file);
    }
    return rc == CAIRN_OK ? store_ordered_replace(store, b->file, place, error) : rc;
}

static void note_result(store_ordered *o, int rc, const cairn_error *why) {
    os_mutex_lock(&o->absorbing);
    if (rc == CAIRN_OK) store_ordered_forget_replayed(o); /* the file has all of it */
    atomic_store(&o->building, false);
    os_mutex_unlock(&o->absorbing);
    os_mutex_lock(&o->lock);
    o->failure = rc == CAIRN_OK ? (cairn_error){0} : *why;
    if (rc == CAIRN_OK) o->in_background = false;
    os_cond_broadcast(&o->changed);
    os_mutex_unlock(&o->lock);
}

static int run(building *b, cairn_error *error) {
    store_ordered *o = &b->store->ordered;
    cairn_error why;
    os_mutex_lock(&o->absorbing);
    atomic_store(&o->building, true);
    os_mutex_unlock(&o->absorbing);
    bool doubted = atomic_exchange(&o->doubted, false); /* what is doubted from now on may be in the list */
    atomic_store(&o->is_loose, false);
    int rc = build(b, &why);
    note_result(o, rc, &why);
    if (rc == CAIRN_OK) return store_ordered_absorb(b->store, error);
    if (doubted) atomic_store(&o->doubted, true);
    atomic_store(&o->is_loose, true);
    if (error != NULL) *error = why;
    return rc;
}

int store_ordered_build(cairn *store, const cairn_index_options *options, cairn_error *error) {
    building b = {.store = store, .options = options};
    return run(&b, error);
}

int store_ordered_build_missing(cairn *store, bool in_background, cairn_error *error) {
    store_ordered *o = &store->ordered;
    building b = {.store = store, .in_background = in_background};
    os_mutex_lock(&o->admin);
    bool wanted = store_ordered_is_on(store) && (!store_ordered_has_file(o) || atomic_load(&o->doubted));
    int rc = wanted ? run(&b, error) : CAIRN_OK;
    os_mutex_unlock(&o->admin);
    return rc;
}

bool store_ordered_upkeep(cairn *store) {
    cairn_error error;
    if (!store_ordered_is_on(store) || vlog_failed(store->log)) return true;
    int rc = store_ordered_build_missing(store, true, &error);
    if (rc == CAIRN_OK && store_ordered_is_due(store)) rc = store_ordered_absorb(store, &error);
    if (rc == CAIRN_OK || rc == CAIRN_CANCELLED) return true;
    store_say(store, CAIRN_LOG_ERROR, "the ordered index: %s", error.message);
    return false;
}

int store_ordered_shrink(cairn *store, cairn_error *error) {
    store_ordered *o = &store->ordered;
    int rc = CAIRN_OK;
    os_mutex_lock(&o->admin);
    if (store_ordered_is_on(store) && o->is_loose && atomic_load(&o->file_bytes) >= SHRINK_BYTES) {
        rc = store_ordered_build(store, NULL, error);
    }
    os_mutex_unlock(&o->admin);
    return rc;
}
