# shellcheck shell=bash
# debian.sh: Debian packages of any architecture, fetched and unpacked into a private folder. Sourced.
#
# Nothing is installed, nothing of the machine's package state is touched, no root is needed. The mirror and the
# suites are those of the machine's own apt configuration.
#
#   debian_use DIR ARCH            lists and packages are kept below DIR, for Debian's architecture ARCH
#   debian_closure PACKAGE…        prints NAME=VERSION of the packages and all they depend on, for an empty machine
#   debian_unpack ROOT NAME[=VERSION]…    fetches just these packages and unpacks them into ROOT

debian_use() {
    local dir=$1 arch=$2
    mkdir -p "$dir/$arch"/{lists/partial,cache/archives/partial,packages}
    debian_dir=$(cd "$dir/$arch" && pwd)
    debian_options=(-qq
        -o "Dir::State::Lists=$debian_dir/lists" -o Dir::State::status=/dev/null
        -o "Dir::Etc::SourceList=$debian_dir/sources.list" -o Dir::Etc::SourceParts=/nonexistent
        -o "Dir::Cache=$debian_dir/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
        -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o APT::Update::Post-Invoke=)
    # A day is long enough for lists; a package that has moved on makes debian_unpack fetch them anew.
    if [ -z "$(find "$debian_dir/updated" -mtime -1 2>/dev/null)" ]; then debian_update; fi
}

debian_update() {
    apt-get indextargets --format "\$(REPO_URI) \$(CODENAME) \$(ORIGIN)" 'Created-By: Packages' |
        awk '$3 == "Debian" && !seen[$0]++ {
            print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $1, $2, "main"
        }' > "$debian_dir/sources.list"
    if [ ! -s "$debian_dir/sources.list" ]; then
        echo "debian: apt's configuration names no Debian mirror; an image is made from Debian packages" >&2
        return 1
    fi
    if ! apt-get "${debian_options[@]}" update 2> "$debian_dir/update.log"; then
        # A mirror in the middle of a synchronisation has a broken index of one suite for a while.
        sleep 5
        if ! apt-get "${debian_options[@]}" update 2> "$debian_dir/update.log"; then
            sed -i '/-security /d' "$debian_dir/sources.list"
            echo "debian: security updates left out, their index cannot be fetched: $(head -1 "$debian_dir/update.log")" >&2
            apt-get "${debian_options[@]}" update >&2
        fi
    fi
    touch "$debian_dir/updated"
}

debian_closure() {
    local list kept
    kept=$debian_dir/closure-$(echo "$*" | cksum | cut -d' ' -f1)
    if [ "$kept" -nt "$debian_dir/updated" ]; then
        cat "$kept"
        return
    fi
    list=$(apt-get "${debian_options[@]}" -s install --no-install-recommends "$@" |
        awk '/^Inst/ { sub(/^\(/, "", $3); print $2 "=" $3 }')
    if [ -z "$list" ]; then
        echo "debian: apt knows none of: $*" >&2
        return 1
    fi
    echo "$list" | tee "$kept"
}

# debian_version PACKAGE: the version that would be fetched.
debian_version() {
    apt-cache "${debian_options[@]}" show --no-all-versions "$1" | sed -n 's/^Version: //p' | head -1
}

debian_unpack() {
    local root=$1 entry name version file missing=()
    shift
    mkdir -p "$root"
    local files=()
    for entry in "$@"; do
        name=${entry%%=*}
        name=${name%%:*}
        version=${entry#"${entry%%=*}"}
        version=${version#=}
        [ -n "$version" ] || version=$(debian_version "$name")
        file=$(find "$debian_dir/packages" -name "${name}_${version//:/%3a}_*.deb" | head -1)
        [ -n "$file" ] || missing+=("$name=$version")
        files+=("${name}_${version//:/%3a}_")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        (cd "$debian_dir/packages" && apt-get "${debian_options[@]}" download "${missing[@]}") >&2
    fi
    for entry in "${files[@]}"; do
        dpkg -x "$debian_dir/packages/$entry"*.deb "$root"
    done
}
