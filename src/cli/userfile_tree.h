/* A directory into which files are written by relative paths, its subdirectories made as they are needed.
 *
 * Each component is opened from the one above it and no symbolic link is followed, so that nothing is ever written
 * outside; paths may be of any length. The directory that was used last stays open: files in path order cost one lookup
 * a directory.
 */
#ifndef CAIRN_CLI_USERFILE_TREE_H
#define CAIRN_CLI_USERFILE_TREE_H

#include "src/cli/keyenc.h"
#include "src/cli/userfile.h"

typedef struct file_tree {
    int root;
    directory_id keep_out; /* never entered */
    bool keeps_out;
    int last;              /* -1: none; may be the root itself */
    byte_string last_path; /* of `last`, no slash at its end */
} file_tree;

/* What would be written lies in `keep_out`. No errno is that large. */
enum { FILE_TREE_KEPT_OUT = -4096 };

/* Makes `directory`, not its parents, when it is absent. FILE_TREE_KEPT_OUT when it is `keep_out` (NULL: none). */
int file_tree_open(file_tree *tree, const char *directory, const directory_id *keep_out);
void file_tree_close(file_tree *tree);

/* Begins the file `path` (no empty component, no "." or "..", none above 255 bytes). -ELOOP: a directory on its way is
 * a symbolic link; -EEXIST: what is there is no regular file; FILE_TREE_KEPT_OUT. */
int file_tree_create(file_tree *tree, byte_view path, target_file *target);

#endif
