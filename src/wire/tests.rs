#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

/// The bytes of version 1. Never edit them: a running init and a newer supervisor must understand each other.
const GOLDEN_COMMANDS: [(Command, &str); 11] = [
    (Command::Hello { version: 1 }, "07000000010001000000000000000000"),
    (Command::Register { pid: 0x1234, token: 0x0102_0304_0506_0708 }, "07000000020001000807060504030201"),
    (Command::Unregister { token: 9 }, "07000000030001000900000000000000"),
    (Command::Hold { key: 4097 }, "07000000040001000110000000000000"),
    (Command::Release { key: 4097 }, "07000000050001000110000000000000"),
    (Command::Fetch { key: 4097 }, "07000000060001000110000000000000"),
    (Command::Deadline { boottime_ms: 1_000_000 }, "070000000700010040420f0000000000"),
    (Command::KeepUnknown { on: true }, "07000000080001000000000000000000"),
    (Command::KeepUnknown { on: false }, "07000000080001000000000000000000"),
    (Command::Pong, "07000000090001000000000000000000"),
    (Command::NothingLeft, "070000000a0001000000000000000000"),
];
const GOLDEN_ENDINGS: [&str; 11] = [
    "0100000000000000",
    "3412000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
    "0100000000000000",
    "0000000000000000",
    "0000000000000000",
    "0000000000000000",
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn commands_have_the_bytes_they_always_had() {
    for ((command, start), end) in GOLDEN_COMMANDS.into_iter().zip(GOLDEN_ENDINGS) {
        let request = Request { number: 7, command };
        let bytes = request.to_bytes();
        assert_eq!(hex(&bytes), format!("{start}{end}"), "{command:?}");
        assert_eq!(Request::from_bytes(&bytes), Some(request));
    }
}

#[test]
fn messages_have_the_bytes_they_always_had() {
    let golden = [
        (Message::Answer { number: 5, answer: Ok(8191) }, "0500000001000100ff1f0000000000000000000000000000"),
        (
            Message::Answer { number: 5, answer: Err(Refusal::Unknown) },
            "050000000200010000000000000000000100000000000000",
        ),
        (
            Message::Answer { number: 5, answer: Err(Refusal::NotAChild) },
            "050000000200010000000000000000000200000000000000",
        ),
        (
            Message::Answer { number: 5, answer: Err(Refusal::InUse) },
            "050000000200010000000000000000000300000000000000",
        ),
        (
            Message::Answer { number: 5, answer: Err(Refusal::NotFound) },
            "050000000200010000000000000000000400000000000000",
        ),
        (Message::Answer { number: 5, answer: Err(Refusal::Full) }, "050000000200010000000000000000000500000000000000"),
        (
            Message::Answer { number: 5, answer: Err(Refusal::BadDescriptor) },
            "050000000200010000000000000000000600000000000000",
        ),
        (Message::Ping, "000000000300010000000000000000000000000000000000"),
    ];
    for (message, expected) in golden {
        let bytes = message.to_bytes();
        assert_eq!(hex(&bytes), expected, "{message:?}");
        assert_eq!(Message::from_bytes(&bytes), Some(message));
    }
}

#[test]
fn an_exit_record_has_the_bytes_it_always_had() {
    let exit =
        ExitRecord { number: 1, token: 0x0a0b, pid: 4711, si_code: 2, si_status: 9, boottime_ms: 123_456, wall_ms: -1 };
    let bytes = exit.to_bytes();
    let expected = "01000000000000000b0a00000000000067120000020000000900000001000000".to_owned()
        + "40e2010000000000ffffffffffffffff";
    assert_eq!(hex(&bytes), expected);
    assert_eq!(ExitRecord::from_bytes(&bytes), Some(exit));
}

#[test]
fn what_is_cut_too_long_of_another_version_or_of_an_unknown_kind_is_no_record() {
    let mut bytes = Request { number: 1, command: Command::Pong }.to_bytes().to_vec();
    assert!(Request::from_bytes(&bytes[..23]).is_none());
    assert!(Request::from_bytes(&[]).is_none());
    bytes.push(0);
    assert!(Request::from_bytes(&bytes).is_none());
    bytes.pop();
    bytes[4] = 200;
    assert!(Request::from_bytes(&bytes).is_none());
    bytes[4] = 9;
    bytes[6] = 2;
    assert!(Request::from_bytes(&bytes).is_none());

    let mut exit = [0; ExitRecord::SIZE];
    assert!(ExitRecord::from_bytes(&exit).is_none());
    exit[28] = 1;
    assert!(ExitRecord::from_bytes(&exit).is_some());
    assert!(Message::from_bytes(&[0; 24]).is_none());
}

#[test]
fn a_hello_of_another_version_is_understood_so_that_it_can_be_refused() {
    let mut bytes = Request { number: 1, command: Command::Hello { version: 9 } }.to_bytes();
    bytes[6] = 9;
    assert_eq!(Request::from_bytes(&bytes).unwrap().command, Command::Hello { version: 9 });
}

#[test]
fn no_bytes_make_the_decoders_panic() {
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..20_000 {
        let mut bytes = [0; 48];
        for byte in &mut bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = seed.to_be_bytes()[0] & 0x0f;
        }
        let _ = (Request::from_bytes(&bytes[..24]), Message::from_bytes(&bytes[..24]), ExitRecord::from_bytes(&bytes));
    }
}

#[test]
fn every_stream_counter_lies_inside_the_table() {
    assert_eq!(stream_word(0, StreamCounter::ReadBatches), 0);
    assert_eq!(stream_word(STREAM_SLOTS - 1, StreamCounter::DroppedBytes), STREAM_TABLE_WORDS - 1);
    assert!(stream_word(usize::MAX, StreamCounter::DroppedBytes) >= STREAM_TABLE_WORDS);
    assert_eq!(hold_key(10, 2), 42);
}
