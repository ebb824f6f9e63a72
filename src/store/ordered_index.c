/* Whether the store has an ordered index, and the file of it: opened, used, lost, replaced; added and dropped. */
#include "src/base/array.h"
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "src/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Keys. Of a larger store the index is built in the background, which a process that is soon gone does not wait for. */
#define BUILT_AT_OPEN 20000u

bool store_ordered_is_on(const cairn *store) { return atomic_load(&store->ordered.on); }

int store_ordered_init(cairn *store) {
    store_ordered *o = &store->ordered;
    os_mutex_init(&o->admin);
    os_mutex_init(&o->absorbing);
    os_mutex_init(&o->lock);
    os_cond_init(&o->changed);
    return overlay_new(&o->changes);
}

void store_ordered_release(cairn *store) {
    store_ordered *o = &store->ordered;
    ordered_close(o->file);
    overlay_free(o->changes);
    free(o->replayed);
    os_cond_destroy(&o->changed);
    os_mutex_destroy(&o->lock);
    os_mutex_destroy(&o->absorbing);
    os_mutex_destroy(&o->admin);
}

/* ---- The file ---- */

ordered_options store_ordered_options(const cairn *store) {
    ordered_options options = {.read_only = store->options.read_only};
    memcpy(options.store_id, store->identity.store_id, sizeof options.store_id);
    return options;
}

/* While it is being replaced, or the store opened. */
static void set_file(store_ordered *o, ordered *file) {
    os_mutex_lock(&o->lock);
    o->file = file;
    o->generation++;
    os_mutex_unlock(&o->lock);
    atomic_store(&o->file_bytes, file != NULL ? ordered_bytes(file) : 0);
    atomic_store(&o->file_place, file != NULL ? ordered_place(file) : 0);
}

static int open_file(cairn *store, cairn_error *error) {
    ordered_options options = store_ordered_options(store);
    ordered *file = NULL;
    int rc = ordered_open(&file, store->dir, &options, error);
    set_file(&store->ordered, rc == CAIRN_OK ? file : NULL);
    return rc;
}

ordered *store_ordered_enter(cairn *store, uint64_t *generation) {
    store_ordered *o = &store->ordered;
    os_mutex_lock(&o->lock);
    while (o->replacing)
        os_cond_wait(&o->changed, &o->lock);
    ordered *file = o->file;
    o->users += file != NULL;
    *generation = o->generation;
    os_mutex_unlock(&o->lock);
    return file;
}

void store_ordered_leave(cairn *store) {
    store_ordered *o = &store->ordered;
    os_mutex_lock(&o->lock);
    if (--o->users == 0 && o->replacing) os_cond_broadcast(&o->changed);
    os_mutex_unlock(&o->lock);
}

/* From here to end_replacing nobody uses the file, nor finds it missing. */
static void begin_replacing(store_ordered *o) {
    os_mutex_lock(&o->lock);
    while (o->replacing)
        os_cond_wait(&o->changed, &o->lock);
    o->replacing = true;
    while (o->users > 0)
        os_cond_wait(&o->changed, &o->lock);
    os_mutex_unlock(&o->lock);
}

static void end_replacing(store_ordered *o) {
    os_mutex_lock(&o->lock);
    o->replacing = false;
    os_cond_broadcast(&o->changed);
    os_mutex_unlock(&o->lock);
}

static void close_file(store_ordered *o) {
    ordered *file = o->file;
    set_file(o, NULL);
    ordered_close(file);
}

bool store_ordered_has_file(store_ordered *o) {
    os_mutex_lock(&o->lock);
    bool has = o->file != NULL;
    os_mutex_unlock(&o->lock);
    return has;
}

static void say_lost(const cairn *store, const cairn_error *why) {
    int level = why->code == CAIRN_NOT_FOUND ? CAIRN_LOG_INFO : CAIRN_LOG_WARNING; /* a backup has none yet */
    store_say(store, level, "the ordered index %s: %s", store->options.read_only ? "is not used" : "is built anew",
              why->message);
}

/* Nobody has it open. What stays where it cannot be removed is older than the next checkpoint, and then not used; but
 * for one that is ahead of the log, which may grow past it. */
static void refuse_file(cairn *store, const cairn_error *why) {
    cairn_error error;
    say_lost(store, why);
    if (!store->options.read_only && ordered_drop(store->dir, &error) != CAIRN_OK) {
        store_say(store, CAIRN_LOG_WARNING, "removing the ordered index: %s", error.message);
    }
}

void store_ordered_settle(cairn *store) {
    uint64_t generation;
    ordered *file = store_ordered_enter(store, &generation);
    if (file == NULL) return;
    ordered_leave_sums(file, store->dir);
    store_ordered_leave(store);
}

void store_ordered_lose(cairn *store, uint64_t generation, const cairn_error *why) {
    store_ordered *o = &store->ordered;
    begin_replacing(o);
    bool is_it = o->file != NULL && o->generation == generation;
    if (is_it) {
        close_file(o);
        if (store->options.read_only) atomic_store(&o->has_replayed, true); /* all keys, for the next scan */
        refuse_file(store, why);
        os_mutex_lock(&o->lock);
        o->failure = (cairn_error){0};
        o->in_background = store_has_threads(store);
        os_mutex_unlock(&o->lock);
    }
    end_replacing(o);
    if (is_it) store_upkeep_wake_orderer(store);
}

bool store_ordered_give_room(cairn *store) {
    uint64_t generation;
    cairn_error why;
    if (store_ordered_enter(store, &generation) == NULL) return false;
    store_ordered_leave(store);
    (void)status_set(&why, CAIRN_FULL, "the disk is full");
    store_ordered_lose(store, generation, &why);
    return true;
}

void store_ordered_doubt(cairn *store) {
    if (!store_ordered_is_on(store) || atomic_exchange(&store->ordered.doubted, true)) return;
    store_upkeep_wake_orderer(store);
}

int store_ordered_replace(cairn *store, ordered_build *build, uint64_t place, cairn_error *error) {
    store_ordered *o = &store->ordered;
    cairn_error why;
    begin_replacing(o);
    close_file(o);
    int rc = ordered_build_finish(build, place, error);
    int opened = open_file(store, rc == CAIRN_OK ? error : &why);
    end_replacing(o);
    return rc == CAIRN_OK ? opened : rc;
}

/* ---- Opening the store ---- */

/* Of an index that was dropped, or never added, when the power failed. */
static int remove_leftovers(cairn *store, cairn_error *error) {
    static const char *const names[] = {ORDERED_NAME, ORDERED_NEW_NAME, ORDERED_SUMS_NAME};
    os_file_info info;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (os_info_of(store->dir, names[i], &info) == 0) return ordered_drop(store->dir, error);
    }
    return CAIRN_OK;
}

static int make_empty(cairn *store, cairn_error *error) {
    ordered_build *build;
    ordered_options options = store_ordered_options(store);
    int rc = ordered_build_begin(&build, store->dir, &options, error);
    return rc == CAIRN_OK ? ordered_build_finish(build, store_replay_start(store), error) : rc;
}

int store_ordered_replayed(cairn *store, uint64_t place, location where, cairn_error *error) {
    store_ordered *o = &store->ordered;
    if ((store->identity.flags & IDENTITY_ORDERED) == 0 || !ordered_is_built_in()) return CAIRN_OK;
    replayed_record *grown =
        array_with_room(o->replayed, &o->replayed_capacity, o->replayed_count, sizeof *grown, 1024);
    if (grown == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for the ordered index");
    o->replayed = grown;
    o->replayed[o->replayed_count++] = (replayed_record){place, where};
    return CAIRN_OK;
}

/* Only what the file does not have. */
static void thin_out_replayed(store_ordered *o) {
    uint64_t place = o->file != NULL ? atomic_load(&o->file_place) : UINT64_MAX;
    size_t kept = 0;
    for (size_t i = 0; i < o->replayed_count; i++) {
        if (o->replayed[i].place >= place) o->replayed[kept++] = o->replayed[i];
    }
    o->replayed_count = kept;
}

/* Invariant 2. */
static int check_place(const cairn *store, cairn_error *error) {
    uint64_t place = atomic_load(&store->ordered.file_place), start = atomic_load(&store->covered_place);
    if (place >= start && place <= vlog_appended_place(store->log)) return CAIRN_OK;
    return status_set(error, CAIRN_CORRUPT, "it knows the log up to place %llu, and the checkpoint begins at %llu",
                      (unsigned long long)place, (unsigned long long)start);
}

static int open_or_make(cairn *store, bool created, cairn_error *error) {
    int rc = ordered_check_support(store->dir, error);
    if (rc == CAIRN_OK && created) rc = make_empty(store, error);
    if (rc == CAIRN_OK) rc = open_file(store, error);
    if (rc != CAIRN_OK) return rc;
    rc = check_place(store, error);
    if (rc != CAIRN_OK) close_file(&store->ordered);
    return rc;
}

int store_ordered_open(cairn *store, bool created, cairn_error *error) {
    store_ordered *o = &store->ordered;
    cairn_error why = {0};
    if ((store->identity.flags & IDENTITY_ORDERED) == 0) {
        bool may = ordered_is_built_in() && !store->options.read_only && !created;
        return may ? remove_leftovers(store, error) : CAIRN_OK;
    }
    int rc = open_or_make(store, created, &why);
    thin_out_replayed(o);
    if (rc == CAIRN_UNSUPPORTED) {
        o->failure = why;
        return CAIRN_OK;
    }
    if (rc == CAIRN_NO_MEMORY || (created && rc != CAIRN_OK)) {
        if (error != NULL) *error = why;
        return rc;
    }
    if (rc != CAIRN_OK) refuse_file(store, &why);
    o->in_background = o->file == NULL && store_has_threads(store);
    atomic_store(&o->has_replayed, o->replayed_count > 0 || (o->file == NULL && store->options.read_only));
    atomic_store(&o->is_loose, !created);
    atomic_store(&o->on, true);
    bool is_quick = o->file == NULL && !store->options.read_only && hash_index_entries(store->index) <= BUILT_AT_OPEN;
    if (is_quick && store_ordered_build(store, NULL, &why) != CAIRN_OK) say_lost(store, &why);
    return CAIRN_OK;
}

void store_ordered_count(cairn *store, cairn_stats *stats) {
    store_ordered *o = &store->ordered;
    stats->ordered = store_ordered_is_on(store);
    os_mutex_lock(&o->lock);
    stats->ordered_building = stats->ordered && o->file == NULL;
    os_mutex_unlock(&o->lock);
    stats->ordered_bytes = atomic_load(&o->file_bytes);
    stats->ordered_pending = overlay_pending(o->changes) + o->replayed_count;
}

/* ---- Waiting for it ---- */

static int unsupported(cairn *store, cairn_error *error) {
    store_ordered *o = &store->ordered;
    os_mutex_lock(&o->lock);
    cairn_error why = o->failure;
    os_mutex_unlock(&o->lock);
    if (why.code == CAIRN_UNSUPPORTED) {
        if (error != NULL) *error = why;
        return CAIRN_UNSUPPORTED;
    }
    return status_set(
        error, CAIRN_UNSUPPORTED,
        "the store has no ordered index, which bounds, prefix, LIKE and reverse need: cairn_index_add, or "
        "'cairn index add STORE', makes one");
}

int store_ordered_wait(cairn *store, uint64_t *since, cairn_error *error) {
    store_ordered *o = &store->ordered;
    for (;;) {
        if (!store_ordered_is_on(store)) return unsupported(store, error);
        os_mutex_lock(&o->lock);
        while (o->replacing || (o->file == NULL && o->in_background && o->failure.code == CAIRN_OK))
            os_cond_wait(&o->changed, &o->lock);
        bool is_there = store->options.read_only;
        is_there = is_there || (o->file != NULL && !(atomic_load(&o->doubted) && store->options.no_background));
        bool failed = !is_there && o->in_background;
        if (failed && error != NULL) *error = o->failure;
        int rc = failed ? o->failure.code : CAIRN_OK;
        *since = o->since;
        os_mutex_unlock(&o->lock);
        if (is_there || failed) return rc;
        rc = store_ordered_build_missing(store, false, error);
        if (rc != CAIRN_OK) return rc;
    }
}

/* ---- Adding and dropping: the identity says whether there is one ---- */

static bool has_index(const cairn *store) { return (store->identity.flags & IDENTITY_ORDERED) != 0; }

static int store_flag(cairn *store, bool has, cairn_error *error) {
    store_identity changed = store->identity;
    changed.flags = has ? changed.flags | IDENTITY_ORDERED : changed.flags & ~IDENTITY_ORDERED;
    int rc = identity_store(&changed, store->dir, error);
    if (rc == CAIRN_OK) store->identity.flags = changed.flags;
    return rc;
}

/* Nobody pushes a change, or looks at one, after this. */
static void turn_off(cairn *store) {
    store_ordered *o = &store->ordered;
    atomic_store(&o->on, false);
    hash_index_quiesce(store->index);
    begin_replacing(o);
    close_file(o);
    os_mutex_lock(&o->lock);
    o->in_background = false;
    o->failure = (cairn_error){0};
    os_mutex_unlock(&o->lock);
    end_replacing(o);
    os_mutex_lock(&o->absorbing); /* who catches up has pushed what it had, or finds nothing */
    store_ordered_forget_replayed(o);
    overlay_clear(o->changes);
    os_mutex_unlock(&o->absorbing);
}

static int add(cairn *store, const cairn_index_options *options, cairn_error *error) {
    store_ordered *o = &store->ordered;
    cairn_error ignored;
    if (has_index(store)) return status_set(error, CAIRN_EXISTS, "the store has an ordered index");
    atomic_store(&o->on, true);
    hash_index_quiesce(store->index);
    /* Not before: what a writer that had not seen it took from a snapshot of just now, nobody was told of. */
    uint64_t last = store_snapshots_last(store);
    os_mutex_lock(&o->lock);
    o->failure = (cairn_error){0};
    o->since = last + 1;
    os_mutex_unlock(&o->lock);
    int rc = store_ordered_build(store, options, error);
    if (rc == CAIRN_OK) rc = store_flag(store, true, error);
    if (rc == CAIRN_OK) return rc;
    turn_off(store);
    (void)ordered_drop(store->dir, &ignored);
    return rc;
}

/* In this order: files that nothing speaks of are removed by the next open. */
static int drop(cairn *store, const cairn_index_options *options, cairn_error *error) {
    (void)options;
    if (!has_index(store)) return status_set(error, CAIRN_NOT_FOUND, "the store has no ordered index");
    int rc = store_flag(store, false, error);
    if (rc != CAIRN_OK) return rc;
    turn_off(store);
    return ordered_drop(store->dir, error);
}

static int rebuild(cairn *store, const cairn_index_options *options, cairn_error *error) {
    if (has_index(store) && store_ordered_is_on(store)) return store_ordered_build(store, options, error);
    return status_set(error, CAIRN_NOT_FOUND, "the store has no ordered index");
}

int store_ordered_refuse(cairn_error *error) {
    return status_set(error, CAIRN_UNSUPPORTED, "this library is built without the ordered index");
}

static int call(cairn *store, const cairn_index_options *options,
                int (*act)(cairn *store, const cairn_index_options *options, cairn_error *error), cairn_error *error) {
    cairn_index_options o;
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc != CAIRN_OK) return rc;
    if (!ordered_is_built_in()) return store_ordered_refuse(error);
    os_mutex_lock(&store->ordered.admin);
    rc = act(store, &o, error);
    os_mutex_unlock(&store->ordered.admin);
    return rc;
}

int cairn_index_add(cairn *store, const cairn_index_options *options, cairn_error *error) {
    return call(store, options, add, error);
}
int cairn_index_drop(cairn *store, cairn_error *error) { return call(store, NULL, drop, error); }
int cairn_index_rebuild(cairn *store, const cairn_index_options *options, cairn_error *error) {
    return call(store, options, rebuild, error);
}
