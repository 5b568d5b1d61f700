# shellcheck shell=bash
# modules.sh: picking kernel modules. Sourced; needs kmod.
#
#   modules_pick KERNEL_ROOT TO LIST NAME…    copies the modules and what they need below TO, and writes their paths to the
#                                             file LIST, each after those it needs: loading them in this order works

modules_pick() {
    local from=$1 to=$2 list=$3 version name kind file
    shift 3
    version=$(ls "$from/lib/modules")
    [ -e "$from/lib/modules/$version/modules.dep" ] || depmod -b "$from" "$version"
    mkdir -p "$to/lib/modules/$version"
    : > "$list.all"
    for name in "$@"; do
        modprobe -d "$from" -S "$version" --show-depends "$name" > "$list.one" || {
            echo "image: kernel $version has no module $name" >&2
            return 1
        }
        while read -r kind file; do
            # "builtin NAME" needs nothing
            if [ "$kind" = insmod ]; then echo "/${file#"$from/"}"; fi
        done < "$list.one" >> "$list.all"
    done
    # a merged /usr is the same place by another name
    sed -i 's#^/usr/lib/#/lib/#; s#//*#/#g' "$list.all"
    awk '!seen[$0]++' "$list.all" > "$list"
    rm -f "$list.all" "$list.one"
    while read -r file; do
        mkdir -p "$to$(dirname "$file")"
        cp "$from$file" "$to$file"
    done < "$list"
}

# modules_index FROM TO: what modprobe reads, for the modules that are there.
modules_index() {
    local version
    version=$(ls "$1/lib/modules")
    cp "$1/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$2/lib/modules/$version/"
    depmod -b "$2" "$version"
    # Text is enough for busybox; kmod's binary indexes are for big trees.
    rm -f "$2/lib/modules/$version"/modules.*.bin "$2/lib/modules/$version"/modules.{builtin.modinfo,order,devname,symbols,softdep}
}
