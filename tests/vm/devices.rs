//! A serial converter on USB that is plugged in, pulled out and plugged in again while a container uses it.

use serde_json::json;

use crate::machine::{Disk, Machine, Vm};

/// Its other end is nobody, which QEMU would take for an empty socket.
const PLUG: &str = "device_add usb-serial,chardev=line,id=meter,bus=usb.0,always-plugged=on";
const PULL: &str = "device_del meter";
const OPENS: &str = "gatepost exec meter-gateway -- sh -c '(exec 3<>/dev/modbus0) && stat -c %t:%T /dev/modbus0'";

/// Waits until an event of the pod has said this.
fn told(vm: &mut Vm<'_>, reason: &str) {
    vm.until("gatepost get events", |events| events.contains(reason));
}

/// Takes it out, and waits until nothing of it is left in the machine: else its plug might be taken for one that is still in use.
fn pull(vm: &mut Vm<'_>) {
    vm.at_the_monitor(PULL);
    let gone = vm.event("DEVICE_DELETED");
    assert_eq!(gone["device"], "meter");
    vm.until("ls /dev", |nodes| !nodes.contains("ttyUSB"));
}

#[test]
fn a_container_follows_a_usb_device_that_is_unplugged_and_plugged_again() {
    let disk = Disk::fresh("qemu-aarch64");
    let key = "gatepost.devices.gatepost.io/modbus0.usb";
    let machine = Machine::bare("qemu-aarch64").with(&format!("{key}.vendor=0403 {key}.product=6001")).and(&[
        "-device",
        "qemu-xhci,id=usb",
        "-chardev",
        "null,id=line",
    ]);
    let mut vm = Vm::boot(&machine, &disk);
    vm.apply(
        "meter",
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "meter"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main", "image": "sample/busybox:1", "command": ["sleep", "1000000"],
                    "resources": {"limits": {"gatepost.io/modbus0": 1}},
                }],
            },
        }),
    );
    told(&mut vm, "DeviceNotFound");
    vm.until("gatepost get pods", |table| table.contains("ContainerCreating"));

    vm.at_the_monitor(PLUG);
    vm.until_running(&["meter-gateway"]);
    assert_eq!(vm.ok(OPENS).trim(), "bc:0");
    let before = vm.ok("pidof sleep");

    // Nobody has it open: it comes back under its number, and the container notices nothing.
    pull(&mut vm);
    told(&mut vm, "DeviceLost");
    assert_ne!(vm.run(OPENS).1, 0, "there is no device to open");
    vm.at_the_monitor(PLUG);
    told(&mut vm, "DeviceReturned");
    assert_eq!(vm.ok(OPENS).trim(), "bc:0");
    assert_eq!(vm.ok("pidof sleep"), before);

    assert!(!vm.ok("gatepost get events").contains("DeviceChanged"), "nothing else was taken for it");

    // Who keeps it open keeps its number.
    vm.ok("gatepost exec meter-gateway -- sh -c 'sleep 2000000 <>/dev/modbus0 >/dev/null 2>&1 &'");
    vm.until("pidof sleep", |pids| pids.split_whitespace().count() == 2);
    pull(&mut vm);
    vm.at_the_monitor(PLUG);
    told(&mut vm, "DeviceChanged");
    vm.until("gatepost get pods", |table| {
        table.lines().any(|line| line.split_whitespace().take(4).eq(["meter-gateway", "1/1", "Running", "1"]))
    });
    assert_eq!(vm.ok(OPENS).trim(), "bc:1");
    assert!(!vm.ok("gatepost get events").contains("BackOff"), "that was no crash");
}
