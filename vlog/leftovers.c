/* Files that a crash left behind. */
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "vlog/backup.h"
#include "vlog/log_state.h"

#include <string.h>

static bool is_leftover(manifest *m, const char *name, bool (*wanted)(void *ctx, uint64_t id), void *ctx) {
    uint64_t id;
    char suffix[4];
    if (strcmp(name, MANIFEST_NEW_NAME) == 0 || strcmp(name, BACKUP_MARK_NAME) == 0) return true;
    if (!file_name_parse(name, &id, suffix)) return false;
    if (strcmp(suffix, "val") == 0) return wanted != NULL && !wanted(ctx, id);
    /* An installed dictionary may be needed by any record; one of a later id was never installed. */
    if (strcmp(suffix, "dic") == 0) return id > m->dictionary;
    if (strcmp(suffix, "tab") == 0) return true;
    const manifest_segment *row = manifest_find(m, id);
    return row == NULL || strcmp(suffix, segment_suffix((row->flags & SEGMENT_ALTERNATE) != 0)) != 0;
}

/* The manifest may have got its name from a process that was killed before it synced that: a power cut brings back the
 * one before, whose files must not have gone by then. */
int vlog_remove_unlisted(vlog *log, os_dir *dir, manifest *m, bool (*wanted)(void *ctx, uint64_t id), void *ctx) {
    os_names names;
    size_t removed = 0;
    int rc = os_names_collect(&names, dir);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        if (!is_leftover(m, names.list[i], wanted, ctx)) continue;
        if (removed == 0) rc = os_dir_sync(dir);
        if (rc != 0) break;
        rc = os_unlink(dir, names.list[i]);
        vlog_say(log, CAIRN_LOG_INFO, "removed leftover %s", names.list[i]);
        removed++;
    }
    os_names_release(&names);
    return rc == 0 && removed > 0 ? os_dir_sync(dir) : rc;
}

int vlog_remove_leftovers(vlog *log, bool (*wanted)(void *ctx, uint64_t id), void *ctx, cairn_error *error) {
    int rc = vlog_remove_unlisted(log, log->options.dir, &log->manifest, wanted, ctx);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot remove what a crash left in the store");
}
