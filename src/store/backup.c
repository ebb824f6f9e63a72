/* Backups: a second store of the same segments. vlog/FORMAT.md, "Backups", says why what is there at each step opens.
 *
 * The moment is taken under the compaction lock: a checkpoint, copied before there is a newer one; then everything that
 * was appended is sealed. From then on the backup holds the segments and value files, and compaction goes on with the
 * others. */
#include "vlog/backup.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "src/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct backup {
    cairn *store;
    cairn_backup_options options;
    os_dir *dir;
    bool first;      /* there is no earlier one */
    bool publishing; /* the new one may be there */
    os_transfer transfer;
    cairn_progress progress;
    vlog_backup *log;
    uint64_t *value_files; /* ids, ascending */
    size_t value_count;
    uint64_t value_bytes;
} backup;

static int tell(void *ctx, uint64_t bytes) {
    backup *b = ctx;
    b->progress.done += bytes;
    if (b->progress.total < b->progress.done) b->progress.total = b->progress.done;
    return b->options.progress == NULL ? 0 : b->options.progress(&b->progress, b->options.ctx);
}

/* ---- The directory ---- */

static bool is_of_a_backup(const char *name) {
    static const char *const known[] = {BACKUP_MARK_NAME,         MANIFEST_NAME,        MANIFEST_NEW_NAME,
                                        CHECKPOINT_ROOT_NAME,     CHECKPOINT_DATA_NAME, CHECKPOINT_ROOT_NEW_NAME,
                                        CHECKPOINT_DATA_NEW_NAME, IDENTITY_NEW_NAME};
    uint64_t id;
    char suffix[4];
    bool is_known = file_name_parse(name, &id, suffix);
    for (size_t i = 0; !is_known && i < sizeof known / sizeof known[0]; i++) {
        is_known = strcmp(name, known[i]) == 0;
    }
    return is_known;
}

/* Only what an unfinished backup left may be there, and its mark with it: a store that lost its identity is none. */
static int check_leftovers(const os_names *names, bool *any, cairn_error *error) {
    const char *foreign = NULL;
    bool marked = false;
    *any = false;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->list[i];
        if (strcmp(name, "lost+found") == 0) continue;
        *any = true;
        marked = marked || strcmp(name, BACKUP_MARK_NAME) == 0;
        if (!is_of_a_backup(name)) foreign = name;
    }
    if (!*any || (marked && foreign == NULL)) return CAIRN_OK;
    if (foreign == NULL) return status_set(error, CAIRN_NO_STORE, "it holds a store without its %s", IDENTITY_NAME);
    return status_set(error, CAIRN_NO_STORE, "it is not empty, and no backup: it holds '%.60s'", foreign);
}

/* The mark goes last. */
static int clear(backup *b, cairn_error *error) {
    os_names names;
    bool any;
    int os_rc = os_names_collect(&names, b->dir);
    int rc = os_rc == 0 ? check_leftovers(&names, &any, error) : CAIRN_OK;
    for (size_t i = 0; os_rc == 0 && rc == CAIRN_OK && i < names.count; i++) {
        const char *name = names.list[i];
        if (is_of_a_backup(name) && strcmp(name, BACKUP_MARK_NAME) != 0) os_rc = os_unlink(b->dir, name);
    }
    if (os_rc == 0 && rc == CAIRN_OK && any) os_rc = os_dir_sync(b->dir);
    if (os_rc == 0 && rc == CAIRN_OK && any) os_rc = os_unlink(b->dir, BACKUP_MARK_NAME);
    os_names_release(&names);
    return os_rc == 0 ? rc : status_os(error, os_rc, "cannot clear the backup's directory");
}

static int mark(backup *b, cairn_error *error) {
    os_file *file = NULL;
    int rc = os_file_open(b->dir, BACKUP_MARK_NAME, OS_CREATE, &file);
    if (file != NULL) os_file_close(file);
    if (rc == 0) rc = os_dir_sync(b->dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot write into the backup's directory");
}

static int open_dir(backup *b, const char *path, cairn_error *error) {
    cairn *store = b->store;
    int rc = store->os->dir_open(store->os, path, OS_CREATE, &b->dir);
    if (rc != 0) return status_os(error, rc, "cannot open the directory '%.120s'", path);
    rc = os_dir_lock(b->dir, true);
    if (rc == -EWOULDBLOCK) return status_set(error, CAIRN_BUSY, "'%.150s' is a store that is open", path);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot lock the directory '%.120s'", path);
}

/* Whether the directory holds a backup of this store already. */
static int look(backup *b, cairn_error *error) {
    store_identity theirs;
    const store_identity *ours = &b->store->identity;
    os_file *file = NULL;
    int os_rc = os_file_open(b->dir, IDENTITY_NAME, OS_READ_ONLY, &file);
    if (file != NULL) os_file_close(file);
    b->first = os_rc == -ENOENT;
    if (os_rc != 0 && !b->first) return status_os(error, os_rc, "cannot open %s", IDENTITY_NAME);
    if (b->first) return clear(b, error);
    int rc = identity_load(&theirs, b->dir, error);
    if (rc != CAIRN_OK) return rc;
    if (memcmp(theirs.store_id, ours->store_id, sizeof ours->store_id) == 0 && theirs.salt == ours->salt &&
        memcmp(&theirs.secret, &ours->secret, sizeof ours->secret) == 0) {
        return CAIRN_OK;
    }
    return status_set(error, CAIRN_EXISTS, "it holds another store");
}

/* ---- Steps ---- */

/* compact_lock held: nothing leaves the log, and nothing moves. */
static int take_moment(backup *b, cairn_error *error) {
    cairn *store = b->store;
    int rc = vlog_backup_begin(&b->log, store->log, error);
    if (rc == CAIRN_OK) rc = vlog_backup_compare(b->log, b->dir, b->first, error);
    if (rc == CAIRN_OK) {
        rc = store_streams_list_all(store, &b->value_files, &b->value_count, &b->value_bytes, error);
    }
    return rc;
}

static void keep_value_files(cairn *store, uint64_t below) {
    os_mutex_lock(&store->streams_lock);
    store->backed_up_below = below;
    os_mutex_unlock(&store->streams_lock);
}

/* What the checkpoint's images name is in the log by the time of the seal. */
static int begin(backup *b, cairn_error *error) {
    cairn *store = b->store;
    os_mutex_lock(&store->compact_lock);
    int rc = store_checkpoint_capture(store, &b->transfer, error);
    if (rc == CAIRN_OK) rc = take_moment(b, error);
    if (rc == CAIRN_OK && b->value_count > 0) keep_value_files(store, b->value_files[b->value_count - 1] + 1);
    os_mutex_unlock(&store->compact_lock);
    return rc;
}

static int publish(backup *b, cairn_error *error) {
    int rc = checkpoint_withdraw(b->dir, error);
    b->publishing = true;
    if (rc == CAIRN_OK) rc = vlog_backup_publish(b->log, b->dir, error);
    if (rc == CAIRN_OK) rc = checkpoint_install(b->dir, error);
    if (rc == CAIRN_OK && b->first) rc = identity_store(&b->store->identity, b->dir, error);
    if (rc != CAIRN_OK) return rc;
    /* With what only an earlier backup needs goes the mark. */
    return vlog_backup_tidy(b->log, b->dir, b->value_files, b->value_count, error);
}

static int make(backup *b, cairn_backup_result *result, cairn_error *error) {
    int rc = look(b, error);
    if (rc == CAIRN_OK && b->first) rc = mark(b, error);
    if (rc == CAIRN_OK) rc = begin(b, error);
    if (rc != CAIRN_OK) return rc;
    b->progress.total = b->progress.done + vlog_backup_bytes(b->log) + b->value_bytes;
    if (!b->first) rc = vlog_backup_clean(b->log, b->dir, error);
    if (rc == CAIRN_OK) {
        rc = vlog_backup_transfer(b->log, &b->transfer, b->value_files, b->value_count, &result->bytes_kept, error);
    }
    if (rc == CAIRN_OK) rc = publish(b, error);
    result->bytes_shared = b->transfer.shared;
    result->bytes_copied = b->transfer.copied;
    result->bytes = result->bytes_shared + result->bytes_copied + result->bytes_kept;
    return rc;
}

/* What a failed one has left: the next one removes it as well, but its space is wanted now. */
static void undo(backup *b) {
    cairn_error ignored;
    if (b->dir == NULL || b->publishing) return;
    if (b->first) {
        (void)clear(b, &ignored);
    } else if (b->log != NULL) {
        checkpoint_drop_capture(b->dir);
        (void)vlog_backup_clean(b->log, b->dir, &ignored);
    }
}

static int run(backup *b, const char *dest, cairn_backup_result *result, cairn_error *error) {
    int rc = open_dir(b, dest, error);
    if (rc == CAIRN_OK) {
        b->transfer = (os_transfer){.from = b->store->dir,
                                    .to = b->dir,
                                    .means = b->options.copy ? TRANSFER_COPY : TRANSFER_CLONE,
                                    .progress = tell,
                                    .ctx = b};
        rc = make(b, result, error);
        if (rc != CAIRN_OK) undo(b);
    }
    vlog_backup_end(b->log);
    keep_value_files(b->store, 0);
    if (b->dir != NULL) os_dir_close(b->dir);
    free(b->value_files);
    return rc;
}

int cairn_backup(cairn *store, const char *dest, const cairn_backup_options *options, cairn_error *error) {
    backup b = {.store = store};
    cairn_backup_result result = {0};
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&b.options, sizeof b.options, options, error);
    if (rc == CAIRN_OK && (dest == NULL || dest[0] == '\0')) rc = status_set(error, CAIRN_INVALID, "no path");
    if (rc == CAIRN_OK && b.options.result != NULL) {
        rc = store_copy_result(b.options.result, &result, sizeof result, error);
    }
    if (rc != CAIRN_OK) return rc;
    atomic_fetch_add(&store->children, 1);
    os_mutex_lock(&store->backup_lock);
    rc = run(&b, dest, &result, error);
    os_mutex_unlock(&store->backup_lock);
    atomic_fetch_sub(&store->children, 1);
    if (rc == CAIRN_OK && b.options.result != NULL) {
        (void)store_copy_result(b.options.result, &result, sizeof result, NULL);
    }
    return rc;
}
