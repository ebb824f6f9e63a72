/* Files that a crash left behind. */
#include "src/base/status.h"
#include "src/os/os_names.h"
#include "vlog/log_state.h"

#include <string.h>

static bool is_leftover(vlog *log, const char *name, bool (*wanted)(void *ctx, uint64_t id), void *ctx) {
    uint64_t id;
    char suffix[4];
    if (strcmp(name, MANIFEST_NEW_NAME) == 0) return true;
    if (!file_name_parse(name, &id, suffix)) return false;
    if (strcmp(suffix, "val") == 0) return !wanted(ctx, id);
    /* An installed dictionary may be needed by any record; one of a later id was never installed. */
    if (strcmp(suffix, "dic") == 0) return id > log->manifest.dictionary;
    return strcmp(suffix, "tab") == 0 || manifest_find(&log->manifest, id) == NULL;
}

int vlog_remove_leftovers(vlog *log, bool (*wanted)(void *ctx, uint64_t id), void *ctx, cairn_error *error) {
    os_names names;
    size_t removed = 0;
    int rc = os_names_collect(&names, log->options.dir);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        if (!is_leftover(log, names.list[i], wanted, ctx)) continue;
        rc = os_unlink(log->options.dir, names.list[i]);
        vlog_say(log, CAIRN_LOG_INFO, "removed leftover %s", names.list[i]);
        removed++;
    }
    os_names_release(&names);
    if (rc == 0 && removed > 0) rc = os_dir_sync(log->options.dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot remove what a crash left in the store");
}
