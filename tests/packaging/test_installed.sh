#!/bin/sh
# test_installed.sh BUILD CMAKE GENERATOR: installs BUILD below a temporary directory and uses it as an outside project
# would.
set -eu
build=$1
cmake=$2
generator=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/cairn-packaging.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
prefix=$work/moved/prefix
export LC_ALL=C

fail() {
    echo "FAIL: $*" >&2
    exit 1
}
same_list() { # same_list WHAT: the files $work/want and $work/have hold the same names
    diff -u "$work/want" "$work/have" >"$work/diff" || { cat "$work/diff" >&2; fail "$1"; }
}
runs() { # runs PROGRAM...: it works, on a store of its own, and says the version
    rm -rf "$work/store"
    [ "$("$@" "$work/store")" = "$version" ] || fail "$*"
}

# Installed into one place and then moved: no file may remember where it was.
"$cmake" --install "$build" --prefix "$work/prefix" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "install"; }
mkdir "$work/moved"
mv "$work/prefix" "$work/moved/"
[ "$(find "$prefix/include" -type f)" = "$prefix/include/cairn.h" ] || fail "cairn.h is to be the only header"
pkgconfig=$(dirname "$(find "$prefix" -name cairn.pc)")
libdir=$(dirname "$pkgconfig")
unset PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
export PKG_CONFIG_PATH="$pkgconfig"
version=$(pkg-config --modversion cairn)
if grep -rIl -e "$work/prefix" -e "$build" "$prefix"; then fail "these name the place of the build or installation"; fi

echo "symbols: what cairn.h declares, and nothing else"
sed -n 's/^CAIRN_API[^(]*[ *]\(cairn_[a-z_]*\)(.*/\1/p' "$prefix/include/cairn.h" | sort -u >"$work/want"
[ "$(wc -l <"$work/want")" -ge 30 ] || fail "the declarations of cairn.h were not found"
nm -D --defined-only "$libdir/libcairn.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/have"
same_list "exports of libcairn.so"
nm --defined-only --extern-only "$libdir/libcairn.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/have"
same_list "global symbols of libcairn.a"
objdump -p "$libdir/libcairn.so" | grep -q 'SONAME *libcairn\.so\.0$' || fail "SONAME"
for link in libcairn.so libcairn.so.0; do
    [ "$(readlink -f "$libdir/$link")" = "$libdir/libcairn.so.$version" ] || fail "$link"
done

echo "man pages: one for every function, with the declaration as it stands in cairn.h, and for the program"
for page in man1/cairn.1 man3/cairn.3; do
    [ -s "$prefix/share/man/$page" ] || fail "no man page $page"
done
one_line() { tr -s ' \t\n' ' '; }
awk '/^CAIRN_API/ { sub(/^CAIRN_API /, ""); inside = 1 } inside { print } /;/ { if (inside) print "@"; inside = 0 }' \
    "$prefix/include/cairn.h" | sed 's/;.*/;/' | one_line | sed 's/ *@ */\n/g' >"$work/declarations"
while read -r declaration; do
    name=${declaration%%(*}
    name=${name##*[ *]}
    [ -s "$prefix/share/man/man3/$name.3" ] || fail "no man page $name.3"
    sed 's/\\[&|]//g; s/\\-/-/g' "$prefix/share/man/man3/$name.3" | one_line | grep -qF "$declaration" ||
        fail "$name.3 does not say: $declaration"
done <"$work/declarations"
[ "$(wc -l <"$work/declarations")" -eq "$(wc -l <"$work/want")" ] || fail "the declarations of cairn.h were miscounted"

echo "header: C11, C17, C++17, without warnings"
printf '#include <cairn.h>\nint main(void) { return cairn_strerror(CAIRN_OK) == 0; }\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
for standard in c11 c17 gnu17; do
    cc -std=$standard -Wall -Wextra -Werror -pedantic -I"$prefix/include" -c -o "$work/header.o" "$work/header.c"
done
c++ -std=c++17 -Wall -Wextra -Werror -pedantic -I"$prefix/include" -o "$work/header" "$work/header.cc" \
    "$libdir/libcairn.so" -Wl,-rpath,"$libdir"
"$work/header"

echo "program: its completion, and a command line that uses what the library links privately"
bash -c '. "$1" && complete -p cairn' - "$prefix/share/bash-completion/completions/cairn" >/dev/null || fail "completion"
"$prefix/bin/cairn" init "$work/store"
head -c 100000 /dev/zero | "$prefix/bin/cairn" put "$work/store" zeros --compress
"$prefix/bin/cairn" stat "$work/store" zeros | grep -qE '^stored_size +[0-9]{1,4} ' || fail "the program does not compress"

echo "pkg-config: shared, the archive alone, wholly static"
# The lists of flags are to be split.
# shellcheck disable=SC2046,SC2086
{
    strict="-std=c11 -Wall -Wextra -Werror -pedantic"
    cc $strict -o "$work/shared" "$here/consumer/consumer.c" $(pkg-config --cflags --libs cairn)
    cc $strict -o "$work/archive" "$here/consumer/consumer.c" \
        $(pkg-config --static --cflags --libs cairn | sed 's/-lcairn\b/-l:libcairn.a/')
    cc $strict -static -o "$work/static" "$here/consumer/consumer.c" $(pkg-config --static --cflags --libs cairn)
}
runs env LD_LIBRARY_PATH="$libdir" "$work/shared"
runs "$work/archive"
runs "$work/static"

echo "find_package: cairn::cairn and cairn::cairn_static"
{
    "$cmake" -S "$here/consumer" -B "$work/consumer" -G "$generator" -DCMAKE_PREFIX_PATH="$prefix" &&
        "$cmake" --build "$work/consumer"
} >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "find_package"; }
runs "$work/consumer/with_cairn"
runs "$work/consumer/with_cairn_static"
objdump -p "$work/consumer/with_cairn" | grep -q 'NEEDED *libcairn\.so\.0' ||
    fail "cairn::cairn is not the shared library"
if objdump -p "$work/consumer/with_cairn_static" | grep -q libcairn; then fail "cairn::cairn_static is not static"; fi

echo "examples: compiled as their first lines say, and run"
export LD_LIBRARY_PATH="$libdir"
examples=$(dirname "$(find "$prefix" -name blob_store.c)")
for example in blob_store upload listing move; do
    # shellcheck disable=SC2046
    cc -std=c17 -Wall -Wextra -Werror -pedantic -o "$work/$example" "$examples/$example.c" \
        $(pkg-config --cflags --libs cairn)
done
rm -rf "$work/store"
"$work/blob_store" "$work/store" greeting "hello, blob"
[ "$("$work/blob_store" "$work/store" greeting)" = "hello, blob" ] || fail "blob_store"
if "$work/blob_store" "$work/store" nothing 2>"$work/log"; then fail "blob_store finds what is not there"; fi
grep -q "no such key" "$work/log" || fail "blob_store says nothing of an absent key"
head -c 20000000 /dev/zero | "$work/upload" "$work/store" zeros
"$work/listing" "$work/store" | sort >"$work/have"
printf '%12d greeting\n%12d zeros\n' 11 20000000 >"$work/want"
same_list "listing"
[ "$("$prefix/bin/cairn" get "$work/store" zeros | tr -d '\0' | wc -c)" -eq 0 ] || fail "upload"
[ "$("$work/move" "$work/store" greeting farewell)" = "greeting had 11 bytes" ] || fail "move"
"$work/listing" "$work/store" | sort >"$work/have"
printf '%12d farewell\n%12d zeros\n' 11 20000000 >"$work/want"
same_list "listing behind a move"
if "$work/move" "$work/store" greeting again 2>"$work/log"; then fail "move finds what is not there"; fi
grep -q "no such key" "$work/log" || fail "move says nothing of an absent key"

"$prefix/bin/cairn" --version | grep -qF "$version" || fail "bin/cairn --version"
echo "installed and used: cairn $version"
