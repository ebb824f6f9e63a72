#!/bin/sh
# check_layers.sh [ROOT]: the rules of the layers, as a program. Prints each violation as FILE:LINE: what; exit 1 when
# there is one.
#
#   src/base < src/os < vlog, index < src/store, and src/cli on the public header alone
#
#   - An include names a file from the repository's root. A room includes itself, the rooms below it and
#     include/cairn.h; vlog and index never each other; src/cli only itself and include/cairn.h; include/cairn.h
#     nothing of ours; src/examples neither, since they are built from outside.
#   - Headers never include each other in a circle, and nobody includes a .c file.
#   - Only src/os makes a file-system call. In src/cli the files that handle the user's own files may as well
#     (userfile*.c, treewalk*.c, cmd_tree_*.c), and all may write to the standard streams. src/examples may as well.
set -eu
cd "${1:-.}"

files=$(find include src vlog index -name '*.[ch]' | LC_ALL=C sort)
[ -n "$files" ] || { echo "no sources below $(pwd)" >&2; exit 1; }

# The names hold no blanks: word splitting is meant.
# shellcheck disable=SC2086
exec awk '
function violation(text) {
    print FILENAME ":" FNR ": " text
    violations++
}

function room_of(path,    part, count) {
    count = split(path, part, "/")
    if (part[1] == "src" && count > 2) return "src/" part[2]
    return part[1]
}

# The line without comments and, if `bare`, without what stands in quotes. The state of a comment that goes on over the
# line end is in in_comment, which only the call with `bare` moves on.
function code_of(line, bare,    i, c, two, out, quote, inside) {
    inside = in_comment
    out = ""
    quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (inside) {
            if (two == "*/") { inside = 0; i++; out = out " " }
        } else if (quote != "") {
            if (!bare) out = out c
            if (c == "\\") { i++; if (!bare) out = out substr(line, i, 1) }
            else if (c == quote) { quote = ""; if (bare) out = out c }
        } else if (two == "/*") { inside = 1; i++ }
        else if (two == "//") break
        else {
            if (c == "\"" || c == SINGLE_QUOTE) quote = c
            out = out c
        }
    }
    if (bare) in_comment = inside
    return out
}

function check_include(target,    to) {
    to = room_of(target)
    if (!(target in is_file)) violation("includes \"" target "\", which is no file of the repository")
    else if (target ~ /\.c$/) violation("includes a source file: " target)
    else if (target == "include/cairn.h" && room != "include") return
    else if (!((room, to) in may_include)) violation(room " must not include " to ": " target)
    else if (FILENAME ~ /\.h$/) {
        edges[FILENAME] = edges[FILENAME] " " target
        edge_line[FILENAME, target] = FNR
    }
}

function check_calls(code,    start, name, before) {
    while (match(code, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
        start = RSTART
        name = substr(code, start, RLENGTH - 1)
        sub(/[ \t]+$/, "", name)
        before = previous substr(code, 1, start - 1)
        sub(/[ \t]+$/, "", before)
        previous = before name "("
        code = substr(code, start + RLENGTH)
        if (!(name in file_call)) continue
        if (before ~ /(->|\.)$/) continue # a member of the OS table, for example
        if (room == "src/cli" && name in stream_call) continue
        violation("file-system call outside src/os: " name)
    }
}

# Depth first over the includes of headers; a header met again while it is still open closes a circle.
function visit(header, path,    list, count, i) {
    state[header] = 1
    count = split(edges[header], list, " ")
    for (i = 1; i <= count; i++) {
        if (state[list[i]] == 1) {
            print header ":" edge_line[header, list[i]] ": headers include each other in a circle:" path " " header " " list[i]
            violations++
        } else if (state[list[i]] == 0) visit(list[i], path " " header)
    }
    state[header] = 2
}

function allow(from, rooms,    list, count, i) {
    known[from] = 1
    count = split(rooms, list, " ")
    for (i = 1; i <= count; i++) may_include[from, list[i]] = 1
}

function fill(set, words,    list, count, i) {
    count = split(words, list, " ")
    for (i = 1; i <= count; i++) set[list[i]] = 1
}

BEGIN {
    SINGLE_QUOTE = sprintf("%c", 39)
    for (i = 1; i < ARGC; i++) is_file[ARGV[i]] = 1
    allow("include", "")
    allow("src/base", "src/base")
    allow("src/os", "src/os src/base")
    allow("vlog", "vlog src/os src/base")
    allow("index", "index src/os src/base")
    allow("src/store", "src/store vlog index src/os src/base")
    allow("src/cli", "src/cli")
    allow("src/examples", "")
    fill(file_call, "open open64 openat openat2 creat close read write pread pwrite pread64 pwrite64 readv writev preadv " \
        "pwritev preadv2 pwritev2 lseek fsync fdatasync sync syncfs sync_file_range rename renameat renameat2 unlink " \
        "unlinkat link linkat symlink symlinkat readlink readlinkat mkdir mkdirat rmdir remove truncate ftruncate " \
        "fallocate posix_fallocate mmap mmap64 munmap mremap msync madvise mincore posix_madvise posix_fadvise readahead mlock " \
        "fopen fopen64 fdopen freopen fclose fread fwrite fflush fputs fgets fgetc getc getline getdelim fseek fseeko " \
        "fileno tmpfile tmpnam tempnam mkstemp mkostemp mkdtemp opendir fdopendir readdir closedir scandir ftw nftw " \
        "fts_open glob stat lstat fstat fstatat statx statvfs fstatvfs statfs fstatfs access faccessat chmod fchmod " \
        "fchmodat chown fchown utime utimes utimensat futimens flock lockf fcntl ioctl realpath getcwd chdir fchdir dup " \
        "dup2 dup3 pipe pipe2 copy_file_range sendfile splice syscall memfd_create mount umount")
    fill(stream_call, "fwrite fflush fputs write fileno ioctl")
    fill(file_header, "fcntl.h dirent.h sys/mman.h sys/stat.h sys/file.h sys/vfs.h sys/statfs.h sys/statvfs.h " \
        "sys/sendfile.h ftw.h fts.h glob.h")
}

FNR == 1 {
    in_comment = 0
    room = room_of(FILENAME)
    name = FILENAME
    sub(/^.*\//, "", name)
    makes_file_calls = room == "src/os" || room == "src/examples" || (room == "src/cli" && name ~ /^(userfile.*|treewalk.*|cmd_tree_.*)\.[ch]$/)
    if (!(room in known)) violation("a room that the layers do not know: " room)
}

{
    previous = ""
    if (!in_comment && $0 ~ /^[ \t]*#[ \t]*include/) {
        line = code_of($0, 0)
        if (match(line, /"[^"]*"/)) check_include(substr(line, RSTART + 1, RLENGTH - 2))
        else if (match(line, /<[^>]*>/)) {
            header = substr(line, RSTART + 1, RLENGTH - 2)
            if (!makes_file_calls && room != "src/cli" && header in file_header)
                violation("header for file-system calls outside src/os: <" header ">")
        }
        code_of($0, 1)
        next
    }
    code = code_of($0, 1)
    if (!makes_file_calls) check_calls(code)
}

END {
    for (header in edges) if (state[header] == 0) visit(header, "")
    exit violations > 0
}
' $files
