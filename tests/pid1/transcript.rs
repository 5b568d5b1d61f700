//! Transcripts of the system calls by which PID 1 changes the machine, compared with those in `tests/data/transcripts`.
//! `GATEPOST_WRITE_TRANSCRIPTS=1` writes them anew: read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::machine::{CONFIG, Machine};

/// The calls that are told.
const CALLS: &str = "mount,umount2,reboot,kill,sync,execve,execveat,mkdir,setrlimit,prlimit64,mlockall,memfd_create,\
                     fcntl,ioctl,?open,openat,pidfd_send_signal,clone3";

/// Boots, lets `end` bring the machine down, and compares what PID 1 and its farewell did.
pub fn compare(name: &str, end: impl FnOnce(&Machine)) {
    let mut machine = Machine::prepare(CONFIG);
    let output = machine.path("trace");
    let calls = format!("trace={CALLS}");
    machine.start_under(&[
        "strace",
        "-ff",
        "-qq",
        "--decode-pids=pidns",
        "-e",
        &calls,
        "-e",
        "signal=none",
        "-o",
        output.to_str().unwrap(),
    ]);
    machine.until_supervised();
    end(&machine);
    machine.ended_by();
    let mut found = String::new();
    for (title, word) in [("PID 1", "[\"init\"]"), ("boot", "\"boot\""), ("farewell", "\"farewell\"")] {
        let text = trace_with(machine.path("").as_path(), word);
        let _ = writeln!(found, "# {title}");
        let mut lines: Vec<String> = text.lines().filter_map(normal).collect();
        // As often as it took.
        lines.dedup();
        for line in lines {
            let _ = writeln!(found, "{line}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts").join(name);
    if std::env::var_os("GATEPOST_WRITE_TRANSCRIPTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}: found\n{found}\nexpected\n{expected}");
}

/// The trace of the process that executed a program with this in its arguments, from there on.
fn trace_with(directory: &Path, word: &str) -> String {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("trace.") {
            let text = fs::read_to_string(entry.path()).unwrap();
            if let Some(line) = text.lines().position(|line| line.starts_with("exec") && line.contains(word)) {
                let lines = text.lines().skip(line);
                return lines
                    .fold(String::new(), |all, line| all + &thread(directory, line).unwrap_or_default() + line + "\n");
            }
        }
    }
    panic!("no process executed anything with {word}");
}

/// What the thread did that this call has started. The stages of a boot are threads of which one at a time does something.
fn thread(directory: &Path, line: &str) -> Option<String> {
    let (_, result) = line.split_once("CLONE_THREAD")?.1.rsplit_once(" /* ")?;
    fs::read_to_string(directory.join(format!("trace.{}", result.split(' ').next()?))).ok()
}

/// A line without what differs from run to run and from machine to machine; `None` for calls that change nothing.
fn normal(line: &str) -> Option<String> {
    let (call, rest) = line.split_once('(')?;
    let told = match call {
        "fcntl" => rest.contains("F_ADD_SEALS"),
        "ioctl" => rest.contains("WDIOC"),
        "kill" => rest.starts_with("-1,"),
        "clone3" => false,
        "mkdir" => !line.contains("EEXIST"),
        // Only what sets a limit.
        "prlimit64" => line.contains(", NULL)"),
        "open" | "openat" => KERNELS_OWN.iter().any(|path| rest.contains(path)),
        // The machine's own, which no gateway has like this.
        "mount" | "umount2" => {
            !["\"/usr\"", "\"/dev/console\"", "\"/sys/fs/cgroup\""].iter().any(|own| rest.contains(own))
        }
        _ => true,
    };
    if !told || line.contains("prlimit64(0, RLIMIT_NOFILE, {rlim_cur=16*1024") {
        return None;
    }
    let mut line = line.split(" /* ").next()?.split(" <").next()?.replace("openat(AT_FDCWD, ", "open(");
    // Whether a limit may be raised, and whether a kernel has a file system, is the machine's affair.
    let depends = ["prlimit64", "memfd_create", "open", "openat"].contains(&call) || rest.contains("/sys/fs/");
    if depends && let Some(end) = line.rfind(" = ") {
        line.truncate(end);
    }
    line = line.trim_end().replace("|0x10", "").replace("|MFD_EXEC", "");
    let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(stable).collect();
    Some(words.join(" "))
}

/// File systems of the kernel's own and in memory. What the loader and the C library read is not PID 1's doing.
const KERNELS_OWN: [&str; 4] = ["\"/dev/", "\"/run/", "\"/sys/kernel/kexec", "\"/proc/sys/net/"];

/// Without numbers that are descriptors, pids, times and addresses.
fn stable(word: &str) -> String {
    if let Some((call, descriptor)) = word.split_once('(')
        && descriptor.trim_end_matches(',').parse::<u32>().is_ok()
        && call != "prlimit64"
    {
        return format!("{call}(FD,");
    }
    let digits = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if digits.is_empty() {
        return word.to_owned();
    }
    let address = digits.starts_with("0x") && digits.len() > 6;
    // None is none, but how many were killed is not.
    let number = word.starts_with('"') && digits != "0" && digits.chars().all(|c| c.is_ascii_digit());
    if address || number { word.replace(digits, "N") } else { word.to_owned() }
}
