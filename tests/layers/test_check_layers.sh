#!/bin/sh
# test_check_layers.sh ROOT: plants one violation at a time in a small tree of the same rooms, below a temporary directory;
# check_layers.sh must name each, and must pass what is allowed.
set -eu
root=$(cd "${1:-.}" && pwd)
check=$root/tests/layers/check_layers.sh
tree=$(mktemp -d "${TMPDIR:-/tmp}/cairn-layers.XXXXXX")
trap 'rm -rf "$tree"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$tree/include" "$tree/src" "$tree/vlog" "$tree/index"
cp "$root/include/cairn.h" "$tree/include/"
failed=0
cases=0

# plant FILE TEXT: puts TEXT (printf escapes) into FILE of the tree.
plant() {
    mkdir -p "$tree/$(dirname "$1")"
    # shellcheck disable=SC2059 # escapes are meant
    printf "$2\n" >"$tree/$1"
    planted="$planted $tree/$1"
}
planted=""

verdict() { # verdict NAME MESSAGE: the check must fail with MESSAGE, or pass when MESSAGE is empty
    cases=$((cases + 1))
    if out=$(sh "$check" "$tree" 2>&1); then status=0; else status=$?; fi
    if [ -z "$2" ]; then
        [ "$status" -eq 0 ] || { echo "FAIL $1: should pass, but: $out"; failed=1; }
    elif [ "$status" -eq 0 ]; then
        echo "FAIL $1: was not caught"; failed=1
    else
        case $out in *"$2"*) ;; *) echo "FAIL $1: wanted '$2', got: $out"; failed=1 ;; esac
    fi
    # shellcheck disable=SC2086 # a list of names
    rm -f $planted
    planted=""
}

caught() { # caught FILE TEXT MESSAGE
    plant "$1" "$2"
    verdict "$1 with '$2'" "$1:1: $3"
}

allowed() { # allowed FILE TEXT
    plant "$1" "$2"
    verdict "$1 with '$2'" ""
}

plant src/store/planted_below.h ""
plant vlog/planted_below.h ""
plant index/planted_below.h ""
plant src/os/planted_below.h ""
plant src/base/planted_below.h ""
plant src/cli/planted_below.h ""
planted="" # these stay

verdict "the small tree" ""

# Upward, sideways, unknown
caught src/base/planted.c '#include "src/os/planted_below.h"' 'src/base must not include src/os'
caught src/base/planted.c '#include "vlog/planted_below.h"' 'src/base must not include vlog'
caught src/os/planted.c '#include "src/store/planted_below.h"' 'src/os must not include src/store'
caught src/os/planted.h '#include "index/planted_below.h"' 'src/os must not include index'
caught vlog/planted.c '#include "index/planted_below.h"' 'vlog must not include index'
caught index/planted.h '  #  include "vlog/planted_below.h" /* sideways */' 'index must not include vlog'
caught vlog/planted.c '#include "src/store/planted_below.h"' 'vlog must not include src/store'
caught index/planted.c '#include "src/store/planted_below.h"' 'index must not include src/store'
caught src/store/planted.c '#include "src/cli/planted_below.h"' 'src/store must not include src/cli'
caught src/cli/planted.c '#include "src/store/planted_below.h"' 'src/cli must not include src/store'
caught src/cli/planted.c '#include "src/base/planted_below.h"' 'src/cli must not include src/base'
caught src/examples/planted.c '#include "src/base/planted_below.h"' 'src/examples must not include src/base'
caught include/planted.h '#include "src/base/planted_below.h"' 'include must not include src/base'
caught include/planted.h '#include "include/cairn.h"' 'include must not include include'
caught vlog/planted.c '#include "planted_below.h"' 'includes "planted_below.h", which is no file'
caught src/attic/planted.c '' 'a room that the layers do not know: src/attic'
plant vlog/planted_body.c ''
caught vlog/planted.c '#include "vlog/planted_body.c"' 'includes a source file'

# Circles
plant vlog/planted_b.h '#include "vlog/planted_c.h"'
plant vlog/planted_c.h '#include "vlog/planted_a.h"'
plant vlog/planted_a.h '#include "vlog/planted_b.h"'
verdict "a circle of three headers" 'headers include each other in a circle'
caught src/base/planted.h '#include "src/base/planted.h"' 'headers include each other in a circle'

# File-system calls
for call in 'open(p, 0)' 'openat (d, p, 0)' 'pread(f, b, n, o)' 'pwrite(f, b, n, o)' 'fsync(f)' 'fdatasync(f)' \
    'rename(a, b)' 'unlink(a)' 'mmap(0, n, 1, 2, f, 0)' 'fopen(p, m)' 'stat(p, &s)' 'mkdir(p, 0700)' 'ftruncate(f, n)'; do
    name=${call%%[ (]*}
    for room in src/base vlog index src/store src/cli; do
        caught "$room/planted.c" "int planted(void) { return $call; }" "file-system call outside src/os: $name"
    done
    allowed src/os/planted.c "int planted(void) { return $call; }"
done
caught vlog/planted.c '/* a comment */ int r = fsync(f); /* and another' 'file-system call outside src/os: fsync'
caught vlog/planted.c 'int r = before(1) + unlink(p);' 'file-system call outside src/os: unlink'
caught vlog/planted.c 'char c = 34 + sizeof "\\\\""" + fsync(f);' 'file-system call outside src/os: fsync'
caught index/planted.c '#include <fcntl.h>' 'header for file-system calls outside src/os: <fcntl.h>'

# What is allowed
allowed src/base/planted.c '#include "include/cairn.h"'
allowed src/store/planted.c '#include "vlog/planted_below.h"\n#include "index/planted_below.h"\n#include "src/os/planted_below.h"'
allowed src/cli/planted.c '#include "include/cairn.h"\n#include "src/cli/planted_below.h"'
allowed vlog/planted.c 'int r = os->rename(dir, a, b) + table.unlink(dir, a) + os_unlink(dir, a);'
allowed vlog/planted.c '/* calls fsync(f) and\n * rename(a, b) */ // unlink(p)\nconst char *s = "open(p) \\" open(p)";'
allowed vlog/planted.h 'struct table {\n    int (*rename)(int, int);\n};'
allowed src/cli/userfile_planted.c 'int f = open(p, 0);'
allowed src/examples/planted.c '#include <cairn.h>\nint f = fread(b, 1, n, stdin);'
allowed src/cli/treewalk_planted.c 'int f = open(p, 0);'
allowed src/cli/cmd_tree_planted.c 'int f = rename(a, b);'
allowed src/cli/planted.c 'int f = fwrite(b, 1, n, stdout) + fflush(stdout);'

[ "$failed" -eq 0 ] && echo "$cases cases, each as it should be"
exit "$failed"
