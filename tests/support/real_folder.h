/* Folders and files of the real file system, for tests: made afresh, copied, compared, damaged. A step that fails is
 * the test's own misfortune and ends the program. Sizes and offsets are bytes. */
#ifndef CAIRN_TESTS_REAL_FOLDER_H
#define CAIRN_TESTS_REAL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REAL_PATH_SIZE 512

/* For cmocka: *state is the path of a new, empty folder below $TMPDIR or /tmp, which the teardown removes with all
 * that is in it. */
int real_folder_setup(void **state);
int real_folder_teardown(void **state);

void real_folder_make(char path[REAL_PATH_SIZE]);
void real_folder_remove(const char *path);               /* and what is in it; nothing when it is not there */
void real_folder_copy(const char *from, const char *to); /* the regular files; `to` is made */
void real_folder_duplicate(const char *from, char to[REAL_PATH_SIZE]); /* into a new folder of its own */
uint64_t real_folder_bytes(const char *path);                          /* lengths of its files */
void real_path(char out[REAL_PATH_SIZE], const char *folder, const char *name);

/* One line a file, sorted: name, length, time of the last change to the nanosecond, checksum. malloc'ed. */
char *real_folder_describe(const char *path);
/* Names in it, sorted: one malloc'ed block, *count names of REAL_NAME_SIZE bytes. */
#define REAL_NAME_SIZE 64
char (*real_folder_names(const char *path, size_t *count))[REAL_NAME_SIZE];

bool real_file_is_there(const char *folder, const char *name);
uint8_t *real_file_load(const char *folder, const char *name, size_t *size); /* malloc'ed */
void real_file_save(const char *folder, const char *name, const void *bytes, size_t size);
void real_file_copy(const char *from, const char *to, const char *name); /* from folder to folder */
void real_file_cut(const char *folder, const char *name, size_t size);
void real_file_flip(const char *folder, const char *name, size_t offset, unsigned bit);
void real_file_remove(const char *folder, const char *name); /* nothing when it is not there */

#endif
