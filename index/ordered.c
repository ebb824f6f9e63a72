#include "index/ordered.h"

#include "index/ordered_check.h"
#include "index/ordered_state.h"
#include "index/ordered_tree.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool ordered_is_built_in(void) { return true; }

int ordered_check_support(os_dir *dir, cairn_error *error) {
    char path[OS_PATH_SIZE];
    if (os_dir_path(dir, path) == 0) return CAIRN_OK;
    return status_set(error, CAIRN_UNSUPPORTED, "no ordered index here: the directory has no path");
}

/* ---- Opening ---- */

int ordered_open(ordered **out, os_dir *dir, const ordered_options *options, cairn_error *error) {
    ordered *o = calloc(1, sizeof *o);
    if (o == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory to open the ordered index");
    unsigned flags = options->read_only ? MDB_RDONLY | MDB_NOLOCK : 0;
    int code = ordered_env_open(&o->env, dir, ORDERED_NAME, flags, options->map_bytes, error);
    if (code != CAIRN_OK) goto fail;
    code = ordered_meta_load(&o->env, &o->meta, error);
    if (code == CAIRN_OK && memcmp(o->meta.store_id, options->store_id, sizeof o->meta.store_id) != 0) {
        code = status_set(error, CAIRN_CORRUPT, "the ordered index is another store's");
    }
    if (code != CAIRN_OK) {
        ordered_env_close(&o->env);
        goto fail;
    }
    if (!options->read_only) ordered_env_settle(&o->env);
    o->read_only = options->read_only;
    o->pages = (page_source){.file = o->env.file, .page_bytes = o->env.page_bytes};
    o->pages.sums = page_sums_load(dir, options->store_id, &o->env.found.head);
    o->sums_fit = o->pages.sums != NULL;
    os_mutex_init(&o->writing);
    os_mutex_init(&o->gate);
    os_mutex_init(&o->checking);
    os_cond_init(&o->gate_open);
    *out = o;
    return CAIRN_OK;

fail:
    free(o);
    return code;
}

void ordered_close(ordered *o) {
    if (o == NULL) return;
    CHECK(o->inside == 0 && o->by_page == 0);
    ordered_env_close(&o->env);
    free(o->pages.sums);
    os_cond_destroy(&o->gate_open);
    os_mutex_destroy(&o->gate);
    os_mutex_destroy(&o->checking);
    os_mutex_destroy(&o->writing);
    free(o);
}

/* ---- The check ---- */

int ordered_check(ordered *o, cairn_error *error) {
    cairn_error why = {0};
    if (atomic_load(&o->sound)) return CAIRN_OK;
    os_mutex_lock(&o->checking);
    if (!atomic_load(&o->sound)) {
        why = o->damage;
        if (why.code == CAIRN_OK) (void)ordered_check_all(o->env.file, &o->meta, &why);
        if (why.code == CAIRN_CORRUPT) {
            o->damage = why;
            ordered_distrust(o);
        }
        atomic_store(&o->sound, why.code == CAIRN_OK);
    }
    os_mutex_unlock(&o->checking);
    if (why.code != CAIRN_OK && error != NULL) *error = why;
    return why.code;
}

/* ---- The gate ---- */

/* Walks page by page end when so many of the file's pages have been waited for. Each costs some 20 to 60 times what it
 * costs the check of the whole file, which is made when walks have cost about as much. */
#define AWAITED_SHARE 64u

static bool enter_by_page(ordered *o) {
    os_mutex_lock(&o->gate);
    bool may = o->pages.sums != NULL && !o->distrusted && !atomic_load(&o->sound) &&
               atomic_load(&o->pages.cost) / PAGE_COST_AWAITED < o->pages.sums->count / AWAITED_SHARE;
    o->by_page += may;
    os_mutex_unlock(&o->gate);
    return may;
}

/* Before the first commit: the pages that they read may be written by the second one. */
static void end_walks_by_page(ordered *o) {
    os_mutex_lock(&o->gate);
    while (o->by_page > 0)
        os_cond_wait(&o->gate_open, &o->gate);
    free(o->pages.sums);
    o->pages.sums = NULL;
    os_mutex_unlock(&o->gate);
}

void ordered_distrust(ordered *o) {
    os_mutex_lock(&o->gate);
    o->distrusted = true;
    os_mutex_unlock(&o->gate);
}

int ordered_enter(ordered *o, bool *by_page, cairn_error *error) {
    *by_page = !atomic_load(&o->sound) && enter_by_page(o);
    int code = *by_page ? CAIRN_OK : ordered_check(o, error);
    if (code != CAIRN_OK || *by_page) return code;
    os_mutex_lock(&o->gate);
    while (o->growing || o->inside == ORDERED_READERS_MAX)
        os_cond_wait(&o->gate_open, &o->gate);
    bool lost = o->map_lost;
    if (!lost) o->inside++;
    os_mutex_unlock(&o->gate);
    return lost ? status_set(error, CAIRN_FAILED, "the ordered index could not be mapped again") : CAIRN_OK;
}

void ordered_leave(ordered *o, bool by_page) {
    os_mutex_lock(&o->gate);
    if (by_page) {
        o->by_page--;
    } else {
        o->inside--;
    }
    os_cond_broadcast(&o->gate_open);
    os_mutex_unlock(&o->gate);
}

static int grow(ordered *o) {
    os_mutex_lock(&o->gate);
    o->growing = true;
    while (o->inside > 0)
        os_cond_wait(&o->gate_open, &o->gate);
    int rc = ordered_env_grow(&o->env);
    o->map_lost = rc != 0;
    o->growing = false;
    os_cond_broadcast(&o->gate_open);
    os_mutex_unlock(&o->gate);
    return rc;
}

static ordered_meta meta_of(ordered *o) {
    os_mutex_lock(&o->gate);
    ordered_meta meta = o->meta;
    os_mutex_unlock(&o->gate);
    return meta;
}

uint64_t ordered_keys(ordered *o) { return meta_of(o).keys; }
uint64_t ordered_place(ordered *o) { return meta_of(o).place; }

uint64_t ordered_bytes(ordered *o) {
    os_file_info info;
    return os_file_info_get(o->env.file, &info) == 0 ? info.size : 0;
}

void ordered_leave_sums(ordered *o, os_dir *dir) {
    os_mutex_lock(&o->writing);
    bool due = atomic_load(&o->sound) && !o->failed && !o->sums_fit && !o->read_only;
    if (due) page_sums_store(dir, o->env.file, o->meta.store_id);
    o->sums_fit |= due;
    os_mutex_unlock(&o->writing);
}

int ordered_verify(ordered *o, cairn_error *error) {
    os_mutex_lock(&o->writing);
    int code = ordered_check_all(o->env.file, &o->meta, error);
    os_mutex_unlock(&o->writing);
    return code;
}

/* ---- Absorbing ---- */

static bool may_be_tried_again(int rc) { return rc == ENOSPC || rc == EDQUOT || rc == ENOMEM; }

static int absorb_commit(ordered *o, const ordered_change *changes, size_t count, uint64_t place, cairn_error *error) {
    o->sums_fit = false;
    for (;;) {
        ordered_meta meta = o->meta;
        meta.place = place;
        int rc = tree_commit(&o->env, changes, count, false, &meta);
        if (rc == 0) {
            os_mutex_lock(&o->gate);
            o->meta = meta;
            os_mutex_unlock(&o->gate);
            ordered_env_settle(&o->env);
            return CAIRN_OK;
        }
        if (rc != MDB_MAP_FULL) {
            o->failed = !may_be_tried_again(rc);
            return ordered_status(error, rc, "cannot absorb");
        }
        if ((rc = grow(o)) != 0) {
            o->failed = true;
            return ordered_status(error, rc, "cannot grow its map");
        }
    }
}

int ordered_absorb(ordered *o, const ordered_change *changes, size_t count, uint64_t place, cairn_error *error) {
    if (o->read_only) return status_set(error, CAIRN_READ_ONLY, "the ordered index is open read-only");
    os_mutex_lock(&o->writing);
    int code = o->failed ? status_set(error, CAIRN_FAILED, "an earlier commit of the ordered index failed")
                         : ordered_check(o, error);
    if (code == CAIRN_OK) end_walks_by_page(o);
    for (size_t done = 0; code == CAIRN_OK && (done < count || place != o->meta.place);) {
        size_t next = done + tree_commit_count(changes + done, count - done);
        code = absorb_commit(o, changes + done, next - done, next == count ? place : o->meta.place, error);
        done = next;
    }
    os_mutex_unlock(&o->writing);
    return code;
}
