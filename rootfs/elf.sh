# shellcheck shell=bash
# elf.sh: copying programs of any architecture together with the libraries they need. Sourced; needs binutils.
#
#   copy_with_libraries FROM TO PATH…    copies paths (files, links with what they lead to, directories) from one root
#                                        to another, and for programs the shared libraries they name

copy_with_libraries() {
    local from=$1 to=$2 path name target found
    shift 2
    local queue=("$@")
    declare -A seen=()
    while [ ${#queue[@]} -gt 0 ]; do
        path=/${queue[0]#/}
        queue=("${queue[@]:1}")
        [ -z "${seen[$path]:-}" ] || continue
        seen[$path]=1
        if [ ! -e "$from$path" ] && [ ! -L "$from$path" ]; then
            echo "image: $path is in none of the packages" >&2
            return 1
        fi
        mkdir -p "$to$(dirname "$path")"
        if [ -d "$from$path" ] && [ ! -L "$from$path" ]; then
            cp -a "$from$path/." "$to$path/" 2>/dev/null || { mkdir -p "$to$path" && cp -a "$from$path/." "$to$path/"; }
            continue
        fi
        cp -a "$from$path" "$to$path"
        if [ -L "$from$path" ]; then
            target=$(readlink "$from$path")
            case $target in /*) ;; *) target=$(dirname "$path")/$target ;; esac
            queue+=("$(realpath -ms "$target")")
            continue
        fi
        # Not every file is a program; readelf says so by failing.
        while read -r name; do
            case $name in
            /*) found=$name ;;
            *)
                found=$(cd "$from" && find lib usr/lib -name "$name" 2>/dev/null | sort | head -1)
                if [ -z "$found" ]; then
                    echo "image: $path needs $name, which is in none of the packages" >&2
                    return 1
                fi
                ;;
            esac
            queue+=("$found")
        done < <(readelf -ld "$from$path" 2>/dev/null |
            sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p; s/.*program interpreter: \(.*\)\]/\1/p')
    done
}
