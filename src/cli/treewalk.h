/* The regular files below a directory, in the byte order of their paths, so that a walk of the same tree always goes
 * the same way. No symbolic link is followed but the one that may lead to the directory itself.
 *
 * Paths may be of any length and depth: each directory is reached from the one above it, and only the deepest few are
 * held open. Memory: the names of the directories on the way down.
 */
#ifndef CAIRN_CLI_TREEWALK_H
#define CAIRN_CLI_TREEWALK_H

#include "src/cli/keyenc.h"
#include "src/cli/userfile.h"

typedef struct tree_walk tree_walk;

typedef enum walk_step {
    WALK_END,
    WALK_FILE,    /* a regular file when it was listed */
    WALK_SKIPPED, /* neither file nor directory, or the directory to leave out; `what` names it */
    WALK_FAILED   /* a directory that cannot be read, or not to its end; the walk goes on behind it */
} walk_step;

/* Valid until the next step. */
typedef struct walk_entry {
    byte_view path;   /* relative to the directory, NUL behind it */
    int directory;    /* holds the file */
    const char *name; /* in it */
    const char *what;
    int error; /* WALK_FAILED: a negative errno */
} walk_entry;

/* `leave_out` (NULL: none) is not entered wherever it is met. 0 or a negative errno. */
int tree_walk_open(tree_walk **out, const char *directory, const directory_id *leave_out);
walk_step tree_walk_next(tree_walk *walk, walk_entry *entry);
void tree_walk_close(tree_walk *walk); /* NULL is nothing */

/* Sums the sizes of the files below `directory`; stops early, with what it has, when interrupted. */
uint64_t tree_total_bytes(const char *directory, const directory_id *leave_out);

#endif
