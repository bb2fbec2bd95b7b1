//! When a schedule is due: cron expressions, in time zones whose clocks change.
//!
//! Whoever names hours gets each of them once a day: a time that the clocks leap over is met at the moment after the
//! leap, and one that comes twice is met the first time. With `*` or `*/n` as the hour a schedule follows the clock on
//! the wall as it goes: nothing for what is leapt over, and all of it again in an hour that comes again.

use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, CronComponent, Weekday};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 256;

/// The longest leap that clocks have made: over a day, where a country changed sides of the date line.
const LONGEST_LEAP_MINUTES: i64 = 25 * 60;

/// All due times of a schedule.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: Cron,
    zone: Tz,
}

impl Calendar {
    /// Reads a cron expression of five fields (or six: seconds first), or a nickname such as `@daily`, and an IANA time
    /// zone.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`], naming the field that is wrong.
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, Failure> {
        Ok(Self { cron: parse(expression)?, zone: zone(time_zone)? })
    }

    /// The first due time after a moment.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = self.zone.timestamp_millis_opt(i64::try_from(after.as_millis()).ok()?).single()?;
        let next = if self.cron.pattern.hours.from_wildcard {
            self.cron.find_next_occurrence(&after, false).ok()?
        } else {
            self.next_of_named_hours(after)?
        };
        u64::try_from(next.timestamp_millis()).ok().map(Timestamp::from_millis)
    }

    /// The last due time up to `now`; `missed` is one before that, and is given when there is no later one.
    pub fn latest(&self, missed: Timestamp, now: Timestamp) -> Timestamp {
        let (mut latest, mut end) = (missed, now);
        // Each round halves what is left, so that a long outage of a schedule of every second takes no longer.
        while let Some(next) = self.next(latest).filter(|next| *next <= end) {
            latest = next;
            let middle = latest.saturating_add(end.since(latest) / 2);
            match self.next(middle).filter(|next| *next <= end) {
                Some(later) => latest = later,
                None => end = middle,
            }
        }
        latest
    }

    fn next_of_named_hours(&self, after: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let mut civil = after.naive_local();
        loop {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            // Times that come again, while they do, are those that were met before.
            let moment = self.moment(civil)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    /// The one moment of a civil time.
    fn moment(&self, civil: NaiveDateTime) -> Option<DateTime<Tz>> {
        let from = |civil| self.zone.from_local_datetime(&civil).earliest();
        // Clocks leap from one whole minute to another.
        let minute = civil - TimeDelta::seconds(civil.and_utc().timestamp().rem_euclid(60));
        let mut later = (1..=LONGEST_LEAP_MINUTES).filter_map(|minutes| from(minute + TimeDelta::minutes(minutes)));
        from(civil).or_else(|| later.next())
    }
}

/// What stands in one place of an expression.
struct Field {
    name: &'static str,
    expected: &'static str,
    words: &'static [&'static str],
    /// Where the parser puts it.
    of: fn(&Cron) -> &CronComponent,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// The fields of an expression; the first may be left out.
const FIELDS: [Field; 6] = [
    Field { name: "second", expected: "0 to 59", words: &[], of: |cron| &cron.pattern.seconds },
    Field { name: "minute", expected: "0 to 59", words: &[], of: |cron| &cron.pattern.minutes },
    Field { name: "hour", expected: "0 to 23", words: &[], of: |cron| &cron.pattern.hours },
    Field {
        name: "day of the month",
        expected: "1 to 31, \"L\" for the last, or \"15W\" for the weekday nearest to the 15th",
        words: &["L", "W", "LW"],
        of: |cron| &cron.pattern.days,
    },
    Field { name: "month", expected: "1 to 12, or \"JAN\" to \"DEC\"", words: MONTHS, of: |cron| &cron.pattern.months },
    Field {
        name: "day of the week",
        expected: "0 to 7 (0 and 7 are Sunday), \"SUN\" to \"SAT\", \"FRI#2\" for the second of the month, or \"FRI#L\" \
                   for the last",
        words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L"],
        of: |cron| &cron.pattern.days_of_week,
    },
];

fn parse(expression: &str) -> Result<Cron, Failure> {
    let wrong = |what: String| invalid(format!("the cron expression {:?} {what}", clip(expression)));
    if expression.len() > MAX_LENGTH {
        return Err(wrong(format!("has {} bytes: expected at most {MAX_LENGTH}", expression.len())));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    if expression.trim_start().starts_with('@') {
        let nicknames = "expected @hourly, @daily, @weekly, @monthly or @yearly";
        return parser.parse(expression).map_err(|_| wrong(format!("is not a nickname: {nicknames}")));
    }
    let texts: Vec<&str> = expression.split_whitespace().collect();
    let Some(fields) = FIELDS.len().checked_sub(texts.len()).filter(|missing| *missing <= 1).map(|n| &FIELDS[n..])
    else {
        let expected = "minute, hour, day of the month, month and day of the week (\"0 9 * * MON-FRI\"), and seconds \
                        before them if they matter";
        return Err(wrong(format!("has {} fields: expected {expected}", texts.len())));
    };
    for (index, (field, text)) in fields.iter().zip(&texts).enumerate() {
        // On its own, so that a mistake has a place.
        let mut alone = vec!["*"; texts.len()];
        alone[index] = text;
        let names_something = |cron: Cron| !(field.of)(&cron).values().is_empty() || (field.of)(&cron).has_modifiers();
        if !field.knows_words_of(text) || !parser.parse(&alone.join(" ")).is_ok_and(names_something) {
            let how = "lists (1,2), ranges (1-5) and steps (*/2) of them, or \"*\"";
            return Err(wrong(format!("has {text:?} as {}: expected {}; {how}", field.name, field.expected)));
        }
    }
    let cron = parser.parse(expression).map_err(|error| wrong(format!("can't be used: {error}")))?;
    if comes(&cron) { Ok(cron) } else { Err(wrong("names a date that never comes".into())) }
}

/// Whether there is a date that fits: in 28 years every kind of year comes, by its length and its first weekday.
fn comes(cron: &Cron) -> bool {
    let fits = |date: NaiveDate| {
        let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
        let day = cron.pattern.day_match(date.year(), date.month(), date.day(), weekday);
        day.unwrap_or(false) && cron.pattern.month_match(date.month()).unwrap_or(false)
    };
    NaiveDate::default().iter_days().take(28 * 366).any(fits)
}

impl Field {
    fn knows_words_of(&self, text: &str) -> bool {
        let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        words.all(|word| self.words.iter().any(|known| known.eq_ignore_ascii_case(word)))
    }
}

fn zone(name: &str) -> Result<Tz, Failure> {
    name.parse().map_err(|_| {
        let distance = |zone: &&Tz| strsim::levenshtein(&zone.name().to_lowercase(), &clip(name).to_lowercase());
        let nearest = TZ_VARIANTS.iter().min_by_key(distance).filter(|zone| distance(zone) <= 3);
        let hint = nearest.map(|zone| format!("; did you mean {:?}?", zone.name())).unwrap_or_default();
        let expected = "an IANA name such as \"UTC\" or \"Europe/Berlin\"";
        invalid(format!("{:?} is not a time zone: expected {expected}{hint}", clip(name)))
    })
}

/// A caller's text, short enough for a message.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

fn invalid(message: String) -> Failure {
    Failure::new(codes::INVALID_REQUEST, message)
}

#[cfg(test)]
mod tests;
