/* cairn: the program. Reads the command line, and calls the command that it names. */
#include "include/cairn.h"
#include "src/cli/args.h"
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/userfile.h"

#include <limits.h>
#include <string.h>

#define BIT OPTION_BIT

typedef struct command {
    const char *name;     /* of one word, or of two: "index add" */
    const char *operands; /* behind STORE */
    const char *summary;
    int operands_min, operands_max; /* STORE included */
    uint64_t options;
    int (*run)(const arguments *args);
} command;

static const command commands[] = {
    {"init", "", "make a store", 1, 1, BIT(OPT_ORDERED) | BIT(OPT_NO_ORDERED), command_init},
    {"put", "KEY [FILE|-]", "store FILE or standard input as the value of KEY", 2, 3,
     BIT(OPT_IF_ABSENT) | BIT(OPT_IF_VERSION) | BIT(OPT_SYNC) | BIT(OPT_TTL) | BIT(OPT_COMPRESS), command_put},
    {"get", "KEY", "write the value of KEY to standard output", 2, 2, BIT(OPT_OUTPUT) | BIT(OPT_RANGE), command_get},
    {"delete", "[KEY...]", "delete keys, or all that begin with --prefix; exit 3 when a KEY was absent", 1, INT_MAX,
     BIT(OPT_PREFIX) | BIT(OPT_SYNC), command_delete},
    {"stat", "KEY", "print size and version of the value of KEY", 2, 2, 0, command_stat},
    {"scan", "", "list the store", 1, 1,
     BIT(OPT_FROM) | BIT(OPT_AFTER) | BIT(OPT_TO) | BIT(OPT_BEFORE) | BIT(OPT_PREFIX) | BIT(OPT_LIKE) |
         BIT(OPT_REVERSE) | BIT(OPT_LIMIT) | BIT(OPT_KEYS) | BIT(OPT_SIZES) | BIT(OPT_VALUES),
     command_scan},
    {"put-tree", "DIR", "store every regular file below DIR under its relative path", 2, 2,
     BIT(OPT_PREFIX) | BIT(OPT_SYNC) | BIT(OPT_TTL) | BIT(OPT_COMPRESS), command_put_tree},
    {"get-tree", "DIR", "write every value to the file below DIR that its key names", 2, 2, BIT(OPT_PREFIX),
     command_get_tree},
    {"index add", "", "give the store an ordered index, by which scan sorts and finds ranges of keys", 1, 1, 0,
     command_index_add},
    {"index drop", "", "take the ordered index away", 1, 1, 0, command_index_drop},
    {"index rebuild", "", "build the ordered index anew, as small as it can be", 1, 1, 0, command_index_rebuild},
    {"train", "", "make a dictionary from small values, by which later ones compress better", 1, 1, BIT(OPT_DICTIONARY),
     command_train},
    {"compact", "", "give the space of overwritten and deleted values back", 1, 1,
     BIT(OPT_FULL) | BIT(OPT_MIN_GARBAGE) | BIT(OPT_RATE) | BIT(OPT_DRY_RUN), command_compact},
    {"backup", "DEST", "make directory DEST a store that holds the same, or bring it up to date", 2, 2, BIT(OPT_COPY),
     command_backup},
    {"verify", "", "read and check everything; exit 5 on damage", 1, 1, 0, command_verify},
    {"stats", "", "print what the store holds and takes", 1, 1, 0, command_stats},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const command *find_command(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    }
    return NULL;
}

static void usage_line(FILE *out, const command *c) {
    fprintf(out, "cairn %s STORE%s%s%s", c->name, c->operands[0] != '\0' ? " " : "", c->operands,
            c->options != 0 ? " [OPTION...]" : "");
}

static int help_of_all(void) {
    fputs("cairn: an embedded store for large values. A store is a directory.\n\n", stdout);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(stdout, "  %-13s STORE %-12s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
    }
    fputs("\nOptions of every command, anywhere on the line; -- ends them:\n", stdout);
    args_help(stdout, BIT(OPT_GLOBAL_COUNT) - 1);
    fputs("\nExit codes: 0 ok, 1 failure, 2 usage, 3 key absent, 4 no store, 5 corruption found, 6 busy, 7 disk full,\n"
          "8 input rejected, 130 interrupted. `cairn COMMAND --help` tells a command's options.\n",
          stdout);
    return EXIT_OK;
}

static int help_of(const command *c) {
    fputs("usage: ", stdout);
    usage_line(stdout, c);
    fprintf(stdout, "\n\n%s\n\n", c->summary);
    args_help(stdout, c->options | (BIT(OPT_GLOBAL_COUNT) - 1));
    return EXIT_OK;
}

/* Makes the two words of such a name one operand. */
static void join_name(arguments *args) {
    char name[32];
    if (args->operand_count < 2) return;
    (void)snprintf(name, sizeof name, "%s %s", args->operands[0], args->operands[1]);
    const command *c = find_command(name);
    if (c == NULL) return;
    args->operand_count--;
    memmove(args->operands, args->operands + 1, (size_t)args->operand_count * sizeof *args->operands);
    args->operands[0] = c->name;
}

static int unknown_command(const char *name) {
    if (strcmp(name, "index") == 0) return report_usage("index takes add, drop or rebuild, and then STORE");
    return report_usage("unknown command '%s'; `cairn --help` lists them", name);
}

static int run(arguments *args, const char *mistake) {
    join_name(args);
    if (mistake != NULL && args->operand_count > 0 && find_command(args->operands[0]) == NULL) {
        return unknown_command(args->operands[0]); /* whose options are not known either */
    }
    if (mistake != NULL) return report_usage("%s", mistake);
    if (args_has(args, OPT_VERSION)) {
        fprintf(stdout, "cairn %s\n", cairn_version());
        return EXIT_OK;
    }
    if (args->operand_count == 0) {
        if (args_has(args, OPT_HELP)) return help_of_all();
        return report_usage("no command; `cairn --help` lists them");
    }
    const command *c = find_command(args->operands[0]);
    if (c == NULL) return unknown_command(args->operands[0]);
    const char *foreign = args_unknown_to(args, c->options);
    if (foreign != NULL) return report_usage("%s has no option --%s", c->name, foreign);
    if (args_has(args, OPT_HELP)) return help_of(c);
    int count = args->operand_count - 1;
    if (count < c->operands_min || count > c->operands_max) {
        return report_usage("%s operands; usage: cairn %s STORE%s%s", count < c->operands_min ? "missing" : "too many",
                            c->name, c->operands[0] != '\0' ? " " : "", c->operands);
    }
    return c->run(args);
}

int main(int argc, char **argv) {
    userfile_guard_streams();
    interrupt_setup();
    arguments args;
    char mistake_text[MISTAKE_SIZE];
    const char *mistake = args_parse(argc, argv, &args, mistake_text);
    output_setup((output_mode){.json = args_has(&args, OPT_JSON),
                               .nul_keys = args_has(&args, OPT_NUL),
                               .quiet = args_has(&args, OPT_QUIET),
                               .verbose = args_has(&args, OPT_VERBOSE)});
    int exit_code = output_finish(run(&args, mistake));
    args_release(&args);
    return exit_code;
}
