/* A checkpoint in the directory of a backup. index/FORMAT.md, "In a backup", says why in this order. */
#include "index/checkpoint.h"
#include "src/base/status.h"
#include "src/os/os_names.h"

#include <errno.h>

/* The images change in place: they are never shared. */
static int capture(os_transfer *t, const char *name, const char *new_name, cairn_error *error) {
    os_file_info info;
    int rc = os_unlink(t->to, new_name);
    if (rc == 0 || rc == -ENOENT) rc = os_info_of(t->from, name, &info);
    if (rc == -ENOENT) return CAIRN_OK; /* no images: of an empty store */
    os_transfer copy = *t;
    copy.means = TRANSFER_COPY;
    if (rc == 0) rc = os_transfer_file(&copy, name, new_name, info.size, NULL, 0);
    t->copied = copy.copied;
    if (rc == -ECANCELED) return status_set(error, CAIRN_CANCELLED, "the backup was cancelled");
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot back up %s", name);
}

int checkpoint_capture(os_transfer *t, cairn_error *error) {
    int rc = capture(t, CHECKPOINT_DATA_NAME, CHECKPOINT_DATA_NEW_NAME, error);
    return rc == CAIRN_OK ? capture(t, CHECKPOINT_ROOT_NAME, CHECKPOINT_ROOT_NEW_NAME, error) : rc;
}

void checkpoint_drop_capture(os_dir *dir) {
    (void)os_unlink(dir, CHECKPOINT_ROOT_NEW_NAME);
    (void)os_unlink(dir, CHECKPOINT_DATA_NEW_NAME);
}

int checkpoint_withdraw(os_dir *dir, cairn_error *error) {
    int rc = os_unlink(dir, CHECKPOINT_ROOT_NAME);
    if (rc == -ENOENT) return CAIRN_OK;
    if (rc == 0) rc = os_dir_sync(dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot remove %s of the earlier backup", CHECKPOINT_ROOT_NAME);
}

int checkpoint_install(os_dir *dir, cairn_error *error) {
    int rc = os_rename(dir, CHECKPOINT_DATA_NEW_NAME, CHECKPOINT_DATA_NAME);
    if (rc == -ENOENT) rc = 0;
    if (rc == 0) rc = os_dir_sync(dir);
    if (rc == 0) rc = os_rename(dir, CHECKPOINT_ROOT_NEW_NAME, CHECKPOINT_ROOT_NAME);
    if (rc == 0) rc = os_dir_sync(dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot put %s into the backup", CHECKPOINT_ROOT_NAME);
}
