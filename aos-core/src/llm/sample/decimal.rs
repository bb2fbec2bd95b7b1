//! Numbers as exact decimals, because `0.3` is a multiple of `0.1` although the doubles are not.

use serde_json::Value;

/// `digits * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) digits: i128,
    pub(super) exponent: i32,
}

impl Decimal {
    /// The number as its shortest text says; `None` when it has too many digits or is too large.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let text = value.as_number()?.to_string();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { digits, exponent: exponent.checked_sub(i32::try_from(fraction.len()).ok()?)? })
    }

    /// The digits at a smaller exponent; `None` when there are too many.
    pub(super) fn at(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(shift)?)
    }

    /// Both numbers' digits at one exponent.
    fn aligned(self, other: Self) -> Option<(i128, i128, i32)> {
        let exponent = self.exponent.min(other.exponent);
        Some((self.at(exponent)?, other.at(exponent)?, exponent))
    }

    /// A JSON number: an integer when there is no fraction.
    pub(super) fn value(self) -> Option<Value> {
        if let Some(integer) = self.at(0).and_then(|digits| i64::try_from(digits).ok()) {
            return Some(Value::from(integer));
        }
        let number: f64 = format!("{}e{}", self.digits, self.exponent).parse().ok()?;
        if number.fract() == 0.0 && number.abs() < 9e15 {
            Some(Value::from(number as i64))
        } else {
            Some(Value::from(number))
        }
    }
}

/// `a < b`, exactly where both are decimals of reasonable size.
pub(super) fn less(a: &Value, b: &Value) -> bool {
    let exact = || {
        let (a, b, _) = Decimal::of(a)?.aligned(Decimal::of(b)?)?;
        Some(a < b)
    };
    exact().unwrap_or_else(|| a.as_f64() < b.as_f64())
}

/// Whether `value` is a whole number of `step`s; `false` when that can't be told.
pub(super) fn is_multiple(value: &Value, step: &Value) -> bool {
    let exact = || {
        let (value, step, _) = Decimal::of(value)?.aligned(Decimal::of(step)?)?;
        value.checked_rem(step)
    };
    exact() == Some(0)
}

/// The least common multiple of steps.
pub(super) fn common_step(steps: &[&Value]) -> Option<Decimal> {
    let mut common: Option<Decimal> = None;
    for step in steps {
        let step = Decimal::of(step).filter(|step| step.digits > 0)?;
        common = Some(match common {
            None => step,
            Some(common) => {
                let (a, b, exponent) = common.aligned(step)?;
                Decimal { digits: a.checked_div(gcd(a, b))?.checked_mul(b)?, exponent }
            }
        });
    }
    common
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn multiples_are_exact() {
        for (value, step, expected) in [
            (json!(0.3), json!(0.1), true),
            (json!(0.35), json!(0.1), false),
            (json!(1e21), json!(1e20), true),
            (json!(19.99), json!(0.01), true),
            (json!(-6), json!(3), true),
            (json!(0), json!(7), true),
            (json!(1), json!(0), false),
            (json!(1e300), json!(1e-300), false),
        ] {
            assert_eq!(is_multiple(&value, &step), expected, "{value} {step}");
        }
    }

    #[test]
    fn compares_and_combines() {
        assert!(less(&json!(1), &json!(1.5)) && !less(&json!(1.0), &json!(1)) && less(&json!(-1e300), &json!(1e300)));
        let step = common_step(&[&json!(0.4), &json!(0.6)]).unwrap();
        assert_eq!(step.value().unwrap(), json!(1.2));
        assert_eq!(common_step(&[&json!(0)]), None);
    }
}
