/* Names of the numbered files of a store. */
#ifndef CAIRN_VLOG_FILE_NAME_H
#define CAIRN_VLOG_FILE_NAME_H

#include "include/cairn.h"

#define FILE_NAME_SIZE 24 /* "0123456789abcdef.val" and the end */

/* Writes the name of file `id` with a suffix of three letters ("seg", "alt", "val", "tab", "dic"). */
void file_name(char name[FILE_NAME_SIZE], uint64_t id, const char *suffix);
/* Parses such a name strictly (16 lower-case hex digits, dot, one of the five): true, and id and suffix are set. */
bool file_name_parse(const char *name, uint64_t *id, char suffix[4]);

/* The error of such a file: CAIRN_CORRUPT, with its name and the offset. */
int file_damaged(cairn_error *error, uint64_t id, const char *suffix, uint64_t offset, const char *what);

#endif
