//! Containers under cgroup v2, in a virtual gateway: limits as the container and the kernel see them, an OOM kill, a container
//! that forks for ever, and gatepost's own place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod vm;

#[test]
fn probe() {
    let disk = vm::Disk::fresh("qemu-aarch64");
    let mut vm = vm::Vm::boot(&vm::Machine::new("qemu-aarch64"), &disk);
    println!("{}", vm.ok("uname -a; mount; ps"));
    vm.console.wait_for("started gatepost", vm::BOUND);
    println!("{}", vm.until("gatepost get pods -A", |out| out.contains("offline-gateway     1/1     Running")));
    vm.run("reboot -f");
    println!("{}", vm.off());
}
