//! [`Quantity`]: Kubernetes' resource quantities, exact to a billionth.

use std::fmt;

use thiserror::Error;

const NANO: i128 = 1_000_000_000;
/// Largest magnitude, as in Kubernetes: larger values are held at it.
const MAX_NANOS: i128 = (i64::MAX as i128) * NANO;

/// An amount of something: bytes, CPUs, counts.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Quantity {
    nanos: i128,
    family: Family,
}

/// How a quantity was written; its canonical form keeps that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

/// Why a text is no quantity. apimachinery: pkg/api/resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Characters where none belong.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// No digits.
    #[error("unable to parse numeric part of quantity")]
    Number,
}

impl Quantity {
    /// Parses a quantity (`500m`, `1.5Gi`, `1e3`). Blanks around it are left out. Fractions below a
    /// billionth round up, away from zero.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, rest) = digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        check_suffix_shape(suffix)?;
        let (scale, family) = scale_of(suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        let magnitude = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent.saturating_add(9)),
            Scale::Two(shift) => binary(whole, fraction, shift),
        };
        let nanos = magnitude.min(MAX_NANOS);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, family })
    }

    /// The amount in whole units, rounded up (away from zero): bytes of memory.
    pub fn whole(self) -> i64 {
        self.scaled(NANO)
    }

    /// The amount in thousandths, rounded up (away from zero): millicores.
    pub fn milli(self) -> i64 {
        self.scaled(NANO / 1000)
    }

    /// The amount in billionths, exact.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// How many times another amount it is, as text with six decimals; nothing divided by nothing is 0.
    pub fn over(self, other: Self) -> String {
        let (above, below) = (self.nanos.unsigned_abs().saturating_mul(1_000_000), other.nanos.unsigned_abs().max(1));
        let (millionths, rest) = (above / below, above % below);
        // A half goes to the even neighbour, as C's printf has it.
        let up = (rest * 2).cmp(&below).then((millionths % 2).cmp(&1)).is_ge();
        let millionths = millionths.saturating_add(u128::from(up));
        let sign = if (self.nanos < 0) == (other.nanos < 0) { "" } else { "-" };
        format!("{sign}{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
    }

    /// Whether the amount is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The sum; it keeps the form of the first, unless that is zero.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let nanos = self.nanos.saturating_add(other.nanos).clamp(-MAX_NANOS, MAX_NANOS);
        Self { nanos, family: if self.nanos == 0 { other.family } else { self.family } }
    }

    /// The amount rounded up (away from zero) to thousandths, as resource lists are.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        const MILLI: u128 = NANO.unsigned_abs() / 1000;
        let magnitude = self.nanos.unsigned_abs().div_ceil(MILLI).saturating_mul(MILLI);
        let nanos = i128::try_from(magnitude).unwrap_or(MAX_NANOS);
        Self { nanos: if self.nanos < 0 { -nanos } else { nanos }, family: self.family }
    }

    fn scaled(self, unit: i128) -> i64 {
        let magnitude = self.nanos.unsigned_abs().div_ceil(unit.unsigned_abs());
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        if self.nanos < 0 { -magnitude } else { magnitude }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: the family as written, no fraction, the largest suffix without loss.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.nanos / NANO;
        if self.family == Family::Binary && units.abs() >= 1024 {
            let mut amount = i128::from(self.whole());
            let mut steps = 0_usize;
            while amount % 1024 == 0 && steps < 6 {
                amount /= 1024;
                steps += 1;
            }
            let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(steps).unwrap_or(&"");
            return write!(f, "{amount}{suffix}");
        }
        let mut amount = self.nanos;
        let mut exponent = -9_i32;
        while amount != 0 && amount % 1000 == 0 && exponent < 18 {
            amount /= 1000;
            exponent += 3;
        }
        if amount == 0 {
            exponent = 0;
        }
        if self.family == Family::Exponent {
            return if exponent == 0 { write!(f, "{amount}") } else { write!(f, "{amount}e{exponent}") };
        }
        let suffix = match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            18 => "E",
            _ => "",
        };
        write!(f, "{amount}{suffix}")
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

/// Splits off leading digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn check_suffix_shape(suffix: &str) -> Result<(), QuantityError> {
    let rest = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(QuantityError::Format) }
}

fn scale_of(suffix: &str) -> Result<(Scale, Family), QuantityError> {
    let decimal = |exponent| Ok((Scale::Ten(exponent), Family::Decimal));
    let binary = |shift| Ok((Scale::Two(shift), Family::Binary));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            let exponent: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
            let exponent = i32::try_from(exponent.clamp(-1000, 1000)).unwrap_or(0);
            Ok((Scale::Ten(exponent), Family::Exponent))
        }
    }
}

/// `whole.fraction × 10^exponent`, rounded up to a whole number.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(i64::from(exponent));
    let mut value: i128 = 0;
    let mut lost = false;
    let mut place: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if place < point {
            value = value.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
        } else {
            lost |= digit != b'0';
        }
        place += 1;
    }
    while place < point && value != 0 && value <= MAX_NANOS {
        value = value.saturating_mul(10);
        place += 1;
    }
    value.saturating_add(i128::from(lost))
}

/// `whole.fraction × 2^shift` in billionths, rounded up.
fn binary(whole: &str, fraction: &str, shift: u32) -> i128 {
    let unit = (1_i128 << shift) * NANO;
    let whole = whole.parse::<i128>().unwrap_or(if whole.is_empty() { 0 } else { i128::MAX });
    let mut lost = false;
    // From the last digit to the first, each step exact but for a remainder, which rounds the result up.
    let part = fraction.bytes().rev().fold(0_i128, |part, digit| {
        let sum = i128::from(digit - b'0') * unit + part;
        lost |= sum % 10 != 0;
        sum / 10
    });
    whole.saturating_mul(unit).saturating_add(part).saturating_add(i128::from(lost))
}
