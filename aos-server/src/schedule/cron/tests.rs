//! Due times, as tables.

use super::*;

fn at(text: &str) -> Timestamp {
    let at = DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Timestamp::from_millis(at.timestamp_millis().try_into().unwrap())
}

fn calendar(expression: &str, zone: &str) -> Calendar {
    Calendar::new(expression, zone).unwrap_or_else(|failure| panic!("{expression}: {failure}"))
}

fn shown(calendar: &Calendar, at: Timestamp) -> String {
    let at = calendar.zone.timestamp_millis_opt(at.as_millis().try_into().unwrap()).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Each line: an expression, a zone, a moment, and the due times after it, one after the other.
#[test]
fn due_times_follow_each_other() {
    for (expression, zone, after, due) in [
        // Strictly after, to the millisecond.
        ("0 9 * * *", "UTC", "2027-05-01T08:59:59.999Z", &["2027-05-01T09:00:00Z"][..]),
        ("0 9 * * *", "UTC", "2027-05-01T09:00:00Z", &["2027-05-02T09:00:00Z"]),
        ("0 9 * * *", "UTC", "2027-05-01T09:00:00.001Z", &["2027-05-02T09:00:00Z"]),
        ("*/30 * * * * *", "UTC", "2027-05-01T23:59:15Z", &["2027-05-01T23:59:30Z", "2027-05-02T00:00:00Z"]),
        ("59 59 23 31 12 *", "UTC", "2027-05-01T00:00:00Z", &["2027-12-31T23:59:59Z", "2028-12-31T23:59:59Z"]),
        // Nicknames, names, weekdays.
        ("@hourly", "Asia/Kolkata", "2027-05-01T10:10:00+05:30", &["2027-05-01T11:00:00+05:30"]),
        ("@daily", "Asia/Kolkata", "2027-05-01T10:10:00+05:30", &["2027-05-02T00:00:00+05:30"]),
        ("@Monthly", "UTC", "2027-05-01T00:00:00Z", &["2027-06-01T00:00:00Z"]),
        ("0 9 * * MON-FRI", "UTC", "2027-04-30T09:00:00Z", &["2027-05-03T09:00:00Z"]),
        ("0 9 * mar sun", "UTC", "2027-04-30T09:00:00Z", &["2028-03-05T09:00:00Z"]),
        ("0 0 * * 7", "UTC", "2027-05-01T00:00:00Z", &["2027-05-02T00:00:00Z"]),
        ("0 0 1 * MON", "UTC", "2027-05-24T00:00:00Z", &["2027-05-31T00:00:00Z", "2027-06-01T00:00:00Z"]),
        ("0 0 13 * +FRI", "UTC", "2027-01-01T00:00:00Z", &["2027-08-13T00:00:00Z", "2028-10-13T00:00:00Z"]),
        ("0 0 * * FRI#L", "UTC", "2027-05-01T00:00:00Z", &["2027-05-28T00:00:00Z", "2027-06-25T00:00:00Z"]),
        ("0 0 15W * *", "UTC", "2027-05-01T00:00:00Z", &["2027-05-14T00:00:00Z", "2027-06-15T00:00:00Z"]),
        // The ends of months, and the day that is not in every year.
        ("0 0 L * *", "UTC", "2027-01-31T00:00:00Z", &["2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z"]),
        ("0 0 L 2 *", "UTC", "2027-02-28T00:00:00Z", &["2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"]),
        ("0 0 31 * *", "UTC", "2027-01-31T00:00:00Z", &["2027-03-31T00:00:00Z", "2027-05-31T00:00:00Z"]),
        ("0 0 29 2 *", "UTC", "2027-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", &["2104-02-29T00:00:00Z"]),
        // Spring, 02:00 to 03:00 are not there: named hours come at the moment after.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2027-03-27T02:30:00+01:00",
            &["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"],
        ),
        (
            "30 2 28 3 *",
            "Europe/Berlin",
            "2027-01-01T00:00:00Z",
            &["2027-03-28T03:00:00+02:00", "2028-03-28T02:30:00+02:00"],
        ),
        (
            "0 1,2,3 * * *",
            "Europe/Berlin",
            "2027-03-28T00:00:00+01:00",
            &["2027-03-28T01:00:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-29T01:00:00+02:00"],
        ),
        (
            "*/20 2 * * *",
            "Europe/Berlin",
            "2027-03-28T00:00:00+01:00",
            &["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"],
        ),
        ("45 30 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00+01:00", &["2027-03-28T03:00:00+02:00"]),
        // … and every hour's leave the missing one out.
        ("*/30 * * * *", "Europe/Berlin", "2027-03-28T01:30:00+01:00", &["2027-03-28T03:00:00+02:00"]),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2027-03-27T23:00:00+01:00",
            &["2027-03-28T00:00:00+01:00", "2027-03-28T04:00:00+02:00"],
        ),
        // Autumn, 02:00 to 03:00 come twice: named hours come the first time …
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2027-10-30T02:30:00+02:00",
            &["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2027-10-31T02:10:00+01:00", &["2027-11-01T02:30:00+01:00"]),
        ("*/20 2 * * *", "Europe/Berlin", "2027-10-31T02:40:00+02:00", &["2027-11-01T02:00:00+01:00"]),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2027-10-31T01:00:00+02:00",
            &["2027-10-31T02:00:00+02:00", "2027-10-31T03:00:00+01:00", "2027-11-01T02:00:00+01:00"],
        ),
        // … and every hour's come both times.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2027-10-31T02:00:00+02:00",
            &[
                "2027-10-31T02:30:00+02:00",
                "2027-10-31T02:00:00+01:00",
                "2027-10-31T02:30:00+01:00",
                "2027-10-31T03:00:00+01:00",
            ],
        ),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2027-10-31T00:00:00+02:00",
            &["2027-10-31T02:00:00+02:00", "2027-10-31T02:00:00+01:00", "2027-10-31T04:00:00+01:00"],
        ),
        // Clocks that leap at midnight, by half an hour, and over a whole day.
        (
            "@daily",
            "America/Havana",
            "2027-03-13T12:00:00-05:00",
            &["2027-03-14T01:00:00-04:00", "2027-03-15T00:00:00-04:00"],
        ),
        ("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T12:00:00+10:30", &["2027-10-03T02:30:00+11:00"]),
        (
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-12-29T12:00:00-10:00",
            &["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"],
        ),
    ] {
        let calendar = calendar(expression, zone);
        let mut after = at(after);
        for due in due {
            let next = calendar.next(after).unwrap();
            assert_eq!(shown(&calendar, next), shown(&calendar, at(due)), "{expression} {zone}");
            after = next;
        }
    }
}

/// Where the clocks change, minute by minute.
#[test]
fn nothing_is_left_out_and_nothing_comes_twice() {
    let expressions =
        ["*/7 * * * *", "10,50 */3 * * *", "5 0-5 * * *", "*/25 1-3 * * *", "30 2 * * SUN", "0 3 * * *", "59 1 * * *"];
    for (zone, from) in [
        ("Europe/Berlin", "2027-03-27T22:00:00Z"),
        ("Europe/Berlin", "2027-10-30T21:00:00Z"),
        ("America/New_York", "2027-03-14T04:00:00Z"),
        ("America/New_York", "2027-11-07T03:00:00Z"),
        ("Australia/Lord_Howe", "2027-04-03T12:00:00Z"),
        ("Australia/Lord_Howe", "2027-10-02T12:00:00Z"),
        ("America/Havana", "2027-03-14T03:00:00Z"),
    ] {
        let from = at(from);
        let minutes: Vec<Timestamp> =
            (0..600).map(|minute| Timestamp::from_millis(from.as_millis() + minute * 60_000)).collect();
        for expression in expressions {
            let calendar = calendar(expression, zone);
            let local = |at: &Timestamp| calendar.zone.timestamp_millis_opt(at.as_millis() as i64).unwrap();
            let matches = |time: &NaiveDateTime| calendar.cron.is_time_matching(time).unwrap();
            let expected: Vec<Timestamp> = if calendar.cron.pattern.hours.from_wildcard {
                minutes.iter().copied().filter(|at| matches(&local(at).naive_local())).collect()
            } else {
                // Every civil time of the day before, the day and the day after, once.
                let day = local(&from).naive_local().date().and_hms_opt(0, 0, 0).unwrap();
                let civil = (-1_440..2_880).map(|minute| day + TimeDelta::minutes(minute)).filter(matches);
                let moments = civil.map(|civil| calendar.moment(civil).unwrap().timestamp_millis() as u64);
                let all: std::collections::BTreeSet<u64> = moments.collect();
                let range = from.as_millis()..from.as_millis() + 600 * 60_000;
                all.into_iter().filter(|at| range.contains(at)).map(Timestamp::from_millis).collect()
            };
            let mut found = Vec::new();
            let mut after = Timestamp::from_millis(from.as_millis() - 1);
            while let Some(next) = calendar.next(after).filter(|next| next <= minutes.last().unwrap()) {
                found.push(next);
                after = next;
            }
            let shown = |times: &[Timestamp]| times.iter().map(|at| shown(&calendar, *at)).collect::<Vec<_>>();
            assert_eq!(shown(&found), shown(&expected), "{expression} {zone}");
            // From wherever one looks, the same one comes next.
            for at in &minutes {
                let next = expected.iter().find(|due| *due > at);
                assert_eq!(calendar.next(*at).filter(|next| next <= minutes.last().unwrap()).as_ref(), next);
            }
        }
    }
}

#[test]
fn the_latest_missed_time_is_found() {
    for (expression, missed, now, latest) in [
        ("0 9 * * *", "2027-05-01T09:00:00Z", "2027-05-01T09:00:00.400Z", "2027-05-01T09:00:00Z"),
        ("0 9 * * *", "2027-05-01T09:00:00Z", "2027-05-02T08:59:59.999Z", "2027-05-01T09:00:00Z"),
        ("0 9 * * *", "2027-05-01T09:00:00Z", "2027-05-02T09:00:00Z", "2027-05-02T09:00:00Z"),
        ("0 9 * * *", "2027-05-01T09:00:00Z", "2029-07-08T12:00:00Z", "2029-07-08T09:00:00Z"),
        ("* * * * * *", "2027-05-01T09:00:00Z", "2029-07-08T12:34:56.789Z", "2029-07-08T12:34:56Z"),
        ("* * * 1 * *", "2027-05-01T09:00:00Z", "2027-05-31T12:00:00Z", "2027-05-01T23:59:59Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z", "2031-12-31T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("*/10 8,9 * * 1,2", "2027-05-03T08:00:00Z", "2027-05-09T00:00:00Z", "2027-05-04T09:50:00Z"),
    ] {
        let calendar = calendar(expression, "UTC");
        let found = calendar.latest(at(missed), at(now));
        assert_eq!(shown(&calendar, found), shown(&calendar, at(latest)), "{expression} {now}");
    }
}

#[test]
fn mistakes_name_their_field() {
    for (expression, zone, says) in [
        ("", "UTC", &["\"\"", "0 fields", "0 9 * * MON-FRI"][..]),
        ("* * * *", "UTC", &["4 fields"]),
        ("0 0 0 1 1 * 2030", "UTC", &["7 fields"]),
        ("60 * * * *", "UTC", &["\"60\" as minute", "0 to 59"]),
        ("* 24 * * *", "UTC", &["\"24\" as hour", "0 to 23"]),
        ("* * 0 * *", "UTC", &["\"0\" as day of the month"]),
        ("* * * 13 *", "UTC", &["\"13\" as month", "JAN"]),
        ("* * * * 8", "UTC", &["\"8\" as day of the week", "Sunday"]),
        ("61 * * * * *", "UTC", &["\"61\" as second"]),
        ("* * * MON *", "UTC", &["\"MON\" as month"]),
        ("* * * * JAN", "UTC", &["\"JAN\" as day of the week"]),
        ("* * * * FRI#6", "UTC", &["\"FRI#6\" as day of the week"]),
        ("* L * * *", "UTC", &["\"L\" as hour"]),
        ("1-0 * * * *", "UTC", &["\"1-0\" as minute"]),
        ("5/10 * * * *", "UTC", &["\"5/10\" as minute", "*/2"]),
        ("*/0 * * * *", "UTC", &["\"*/0\" as minute"]),
        (", * * * *", "UTC", &["\",\" as minute"]),
        ("* * ☂ * *", "UTC", &["\"☂\" as day of the month"]),
        ("* * * * ÿ", "UTC", &["\"ÿ\" as day of the week"]),
        ("@reboot", "UTC", &["@reboot", "@daily"]),
        ("* * * * @daily", "UTC", &["\"@daily\" as day of the week"]),
        ("0 0 30 2 *", "UTC", &["never comes"]),
        ("* * 31 4,6 *", "UTC", &["never comes"]),
        (&"1,".repeat(200), "UTC", &["400 bytes", "256"]),
        ("* * * * *", "", &["\"\" is not a time zone", "Europe/Berlin"]),
        ("* * * * *", "europe/berlin", &["did you mean \"Europe/Berlin\"?"]),
        ("* * * * *", "Europe/Belin", &["did you mean \"Europe/Berlin\"?"]),
        ("* * * * *", "the moon", &["\"the moon\" is not a time zone"]),
    ] {
        let failure = Calendar::new(expression, zone).unwrap_err();
        assert_eq!(failure.code, codes::INVALID_REQUEST, "{failure}");
        for says in says {
            assert!(failure.message.contains(says), "{says:?} is not in {failure}");
        }
    }
}

/// Whatever the text, it is refused or gives due times that rise.
#[test]
fn mutated_expressions_do_no_harm() {
    let mut rng = aos_core::random::Rng::new(aos_core::random::Seed::new(7), "cron");
    let alphabet: Vec<char> = "0123456789*/,-#LWw?+@ \tMONJAN\u{0}é".chars().collect();
    let mut accepted = 0;
    for _ in 0..3_000 {
        let seeds = ["*/5 9-17 1,15 * MON-FRI", "0 0 L 2 *", "1 2 3 4 5 6", "@daily", "0 12 15W 1-6/2 FRI#2"];
        let mut text: Vec<char> = seeds[rng.below(5) as usize].chars().collect();
        for _ in 0..=rng.below(3) {
            let place = rng.below(text.len() as u64) as usize;
            let letter = alphabet[rng.below(alphabet.len() as u64) as usize];
            match rng.below(3) {
                0 => text[place] = letter,
                1 => text.insert(place, letter),
                _ => drop(text.remove(place)),
            }
        }
        let text: String = text.into_iter().collect();
        let Ok(calendar) = Calendar::new(&text, "America/New_York") else { continue };
        accepted += 1;
        let mut after = at("2027-03-14T06:59:59Z");
        for _ in 0..3 {
            let next = calendar.next(after).unwrap_or_else(|| panic!("{text:?} has no due time after {after}"));
            assert!(next > after, "{text:?}");
            after = next;
        }
    }
    assert!(accepted > 100, "{accepted} were accepted");
}
