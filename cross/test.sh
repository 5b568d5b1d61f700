#!/bin/bash
# Runs the unit tests of each target under qemu-user.
#
#   cross/test.sh [aarch64|armv7]        both without an argument
#
# The emulator translates system calls one by one, so what needs a real kernel is not asked of it: those tests are named
# below with the reason. They run natively in `cargo test`, and the machines' own kernels are tested in tests/vm.rs.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for emulator in qemu-aarch64-static qemu-arm-static; do
    command -v "$emulator" >/dev/null || {
        echo "test: $emulator is missing: apt-get install qemu-user-static, or tests/setup.sh cross" >&2
        exit 1
    }
done

skip=(
    # openat2(2) with RESOLVE_IN_ROOT: qemu 7.2 does not translate openat2.
    --skip runtime::launch::tests::user_files_are_read_without_leaving_the_root
    # execveat(2): qemu 7.2 does not translate it either.
    --skip sys::spawn::tests::a_program_runs_from_an_open_file
)
"$top/cross/cargo.sh" "${1:-both}" test --lib --no-fail-fast -- --quiet "${skip[@]}"
