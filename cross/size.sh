#!/bin/bash
# Prints what is in the release binary, by room of gatepost and by crate, for each target.
#
#   cross/size.sh [aarch64|armv7]...        both without an argument; builds what is out of date
#   SYMBOLS=N cross/size.sh ...             the N largest functions and constants besides
#   PROGRAM=gatepost-worker cross/size.sh   another one of the binaries
#
# Counted are the sections that the linker kept, from its map. Code of a library that was generated for a type of ours
# counts as the room's; constants without a name (texts, tables) have a row of their own. A function that was folded into
# an equal one costs nothing.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for tool in c++filt gawk; do
    command -v "$tool" >/dev/null || {
        echo "size: $tool is missing: apt-get install binutils gawk, or tests/setup.sh cross" >&2
        exit 1
    }
done
[ $# -gt 0 ] || set -- aarch64 armv7
"$top/cross/build.sh" "$@"

# Lines "bytes<TAB>object file<TAB>input section" of what takes room in the file.
sections() {
    gawk '
        $5 ~ /^\./ { out = $5; next }
        out ~ /^\.(t?bss|relro_padding|debug|comment|symtab|strtab|shstrtab|ARM\.attributes)/ { next }
        match($0, /:\([^()]*(\([^()]*\)[^()]*)*\)$/) {
            section = substr($0, RSTART + 2, RLENGTH - 3)
            printf "%d\t%s\t%s\n", strtonum("0x" $3), $5, section
        }' "$1" |
        sed -E 's/\t\.(text|rodata|data\.rel\.ro|data|tdata|ARM\.exidx\.text|ARM\.extab\.text|eh_frame)\.(unlikely\.|hot\.)?([^\t]+)$/\t\3/' |
        c++filt
}

# Lines "bytes<TAB>row<TAB>name".
rows() {
    gawk -F '\t' -v OFS='\t' '
        function row(object, name) {
            if (object ~ /libc\.a|crt1\.o|crti\.o|crtn\.o|crtbegin|crtend/) return "C library (musl)"
            if (object ~ /libunwind/) return "libunwind"
            if (object ~ /compiler_builtins/) return "compiler_builtins"
            if (name ~ /^OUTLINED_FUNCTION/) return "(repeated instructions, kept once)"
            if (name ~ /^\.?(ARM\.ex|eh_frame|gcc_except)/) return "(unwind tables)"
            if (match(name, /gatepost(\[[0-9a-f]+\])?::[a-z_0-9]+/)) {
                name = substr(name, RSTART, RLENGTH)
                sub(/\[[0-9a-f]+\]/, "", name)
                return name
            }
            if (name ~ /^(\.|\.\.|anon\.|L__|switch\.table|cst|str|<internal>)/ || name !~ /::/) return "(texts and tables without a name)"
            match(name, /[a-z_][a-z_0-9]*(\[[0-9a-f]+\])?::/)
            name = substr(name, RSTART, RLENGTH - 2)
            sub(/\[[0-9a-f]+\]/, "", name)
            return name
        }
        { print $1, row($2, $3), $3 }'
}

program=${PROGRAM:-gatepost}
for arch in "$@"; do
    counted=$(sections "$top/.build/bin/$arch/$program.map" | rows)
    total=$(stat -c %s "$top/.build/bin/$arch/$program")
    printf '%s: %d bytes\n' "$arch" "$total"
    gawk -F '\t' -v OFS='\t' -v total="$total" '
        { bytes[$2] += $1; sum += $1 }
        END { for (row in bytes) print bytes[row], row; print total - sum, "(headers and padding)" }' <<<"$counted" |
        sort -rn | gawk -F '\t' -v total="$total" '
            $1 * 500 >= total || $1 < 0 { printf "%10d %5.1f %%  %s\n", $1, 100 * $1 / total, $2; next }
            { rest += $1; rows++ }
            END { printf "%10d %5.1f %%  %d smaller ones\n", rest, 100 * rest / total, rows }'
    if [ -n "${SYMBOLS:-}" ]; then sort -rn <<<"$counted" | cut -f1,3 | cut -c1-150 | sed -n "1,${SYMBOLS}p"; fi
    echo
done
