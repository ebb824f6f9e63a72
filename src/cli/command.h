/* The commands. Each reports what goes wrong and returns the process's exit code; operands are counted and options
 * known to fit when it is called. */
#ifndef CAIRN_CLI_COMMAND_H
#define CAIRN_CLI_COMMAND_H

#include "src/cli/args.h"

int command_init(const arguments *args);
int command_put(const arguments *args);
int command_get(const arguments *args);
int command_delete(const arguments *args);
int command_stat(const arguments *args);
int command_scan(const arguments *args);
int command_put_tree(const arguments *args);
int command_get_tree(const arguments *args);
int command_index_add(const arguments *args);
int command_index_drop(const arguments *args);
int command_index_rebuild(const arguments *args);
int command_train(const arguments *args);
int command_compact(const arguments *args);
int command_backup(const arguments *args);
int command_verify(const arguments *args);
int command_stats(const arguments *args);

#endif
