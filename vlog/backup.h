/* What a backup is made of: the segments, value files and dictionaries of one moment in another directory, with a
 * manifest of its own. Format and proof: vlog/FORMAT.md, "Backups". In which order, and what else there is, is the
 * store's to say (src/store/backup.c). One thread. */
#ifndef CAIRN_VLOG_BACKUP_H
#define CAIRN_VLOG_BACKUP_H

#include "src/os/os_transfer.h"
#include "vlog/log.h"

#define BACKUP_MARK_NAME "BACKUP.NEW" /* the directory holds what an unfinished first backup left, and nothing else */

typedef struct vlog_backup vlog_backup;

/* Everything that was appended so far, in sealed segments, which stay as they are until the end of it or until they
 * were transferred. Sets the feature and the lineage of the log durably first. Nobody else takes segments out of the
 * log or punches them during the call. */
int vlog_backup_begin(vlog_backup **out, vlog *log, cairn_error *error);
void vlog_backup_end(vlog_backup *b); /* NULL is nothing */

/* Looks at the directory. CAIRN_OK: it holds an earlier backup of this log, untouched, or, where `first` says so,
 * nothing that counts. CAIRN_EXISTS: something else. CAIRN_CORRUPT, CAIRN_UNSUPPORTED and others as manifest_load. */
int vlog_backup_compare(vlog_backup *b, os_dir *to, bool first, cairn_error *error);
uint64_t vlog_backup_bytes(const vlog_backup *b); /* of its segments, without what was punched */
/* Removes what an unfinished backup left. */
int vlog_backup_clean(vlog_backup *b, os_dir *to, cairn_error *error);
/* Transfers what is not there yet, durably. `value_files`: ids, ascending. *kept: bytes that were there, of which
 * t->progress is told as well. */
int vlog_backup_transfer(vlog_backup *b, os_transfer *t, const uint64_t *value_files, size_t count, uint64_t *kept,
                         cairn_error *error);
/* From here on the directory holds this backup, and no earlier one. */
int vlog_backup_publish(vlog_backup *b, os_dir *to, cairn_error *error);
/* Removes what belonged to an earlier one only. */
int vlog_backup_tidy(vlog_backup *b, os_dir *to, const uint64_t *value_files, size_t count, cairn_error *error);

#endif
