use super::*;

fn timestamp(text: &str) -> String {
    match parse_timestamp(text) {
        Ok(micros) => {
            let mut out = Vec::new();
            write_timestamp(micros, &mut out);
            String::from_utf8(out).unwrap()
        }
        Err(e) => format!("{} {}", e.sqlstate(), e.message()),
    }
}

fn timestamptz(text: &str, zone: &str) -> String {
    let zone = Zone::parse(zone).unwrap();
    let mut out = Vec::new();
    write_timestamptz(parse_timestamptz(text, zone).unwrap(), zone, &mut out);
    String::from_utf8(out).unwrap()
}

fn date(text: &str) -> String {
    match parse_date(text) {
        Ok(days) => {
            let mut out = Vec::new();
            write_date(days, &mut out);
            String::from_utf8(out).unwrap()
        }
        Err(e) => format!("{} {}", e.sqlstate(), e.message()),
    }
}

fn time(text: &str) -> String {
    match parse_time(text) {
        Ok(micros) => {
            let mut out = Vec::new();
            write_time(micros, &mut out);
            String::from_utf8(out).unwrap()
        }
        Err(e) => format!("{} {}", e.sqlstate(), e.message()),
    }
}

#[test]
fn timestamps_read_in_every_form_and_print_as_iso() {
    let cases = [
        ("2024-02-29 12:30:00", "2024-02-29 12:30:00"),
        ("2024-02-29T12:30:00.500Z", "2024-02-29 12:30:00.5"),
        ("2024-02-29 12:30", "2024-02-29 12:30:00"),
        ("2024-02-29", "2024-02-29 00:00:00"),
        ("20240229T123015", "2024-02-29 12:30:15"),
        ("20240229 123015", "2024-02-29 12:30:15"),
        ("2/29/2024 1:05 PM", "2024-02-29 13:05:00"),
        ("2/29/2024 12:05am", "2024-02-29 00:05:00"),
        ("Feb 29, 2024 00:00:01", "2024-02-29 00:00:01"),
        ("29-Feb-2024", "2024-02-29 00:00:00"),
        ("Thu Feb 29 12:30:00 2024", "2024-02-29 12:30:00"),
        ("2024-02-29 12:30:00+05", "2024-02-29 12:30:00"),
        ("2024-02-29 24:00:00", "2024-03-01 00:00:00"),
        ("2024-02-29 23:59:60", "2024-03-01 00:00:00"),
        ("2024-02-29 12:30:00.1234565", "2024-02-29 12:30:00.123456"),
        ("2024-02-29 12:30:00.1234575", "2024-02-29 12:30:00.123458"),
        ("2024-02-29 12:30:00.9999999", "2024-02-29 12:30:01"),
        ("0044-03-15 10:00:00 BC", "0044-03-15 10:00:00 BC"),
        ("12345-01-02 03:04:05", "12345-01-02 03:04:05"),
        ("epoch", "1970-01-01 00:00:00"),
        ("1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
        ("abc", "22007 invalid input syntax for type timestamp: \"abc\""),
        ("", "22007 invalid input syntax for type timestamp: \"\""),
        ("2024-13-01", "22008 date/time field value out of range: \"2024-13-01\""),
        ("2023-02-29", "22008 date/time field value out of range: \"2023-02-29\""),
        ("2024-02-29 25:00", "22008 date/time field value out of range: \"2024-02-29 25:00\""),
        ("2024-02-29 12:61", "22008 date/time field value out of range: \"2024-02-29 12:61\""),
        ("2024-02-29 12:30 xyz", "22007 invalid input syntax for type timestamp: \"2024-02-29 12:30 xyz\""),
        ("12:30", "22007 invalid input syntax for type timestamp: \"12:30\""),
        ("400001-01-01", "22008 timestamp out of range: \"400001-01-01\""),
    ];
    for (text, expected) in cases {
        assert_eq!(timestamp(text), expected, "{text}");
    }
}

#[test]
fn timestamptz_is_read_and_shown_in_the_zone_of_the_session() {
    let cases = [
        ("2024-07-01 12:00:00", "Europe/Berlin", "2024-07-01 12:00:00+02"),
        ("2024-07-01 12:00:00Z", "Europe/Berlin", "2024-07-01 14:00:00+02"),
        ("2024-01-01 12:00:00 UTC", "Asia/Kolkata", "2024-01-01 17:30:00+05:30"),
        ("2024-01-01 12:00:00-08", "UTC", "2024-01-01 20:00:00+00"),
        ("2024-01-01 12:00:00 America/New_York", "UTC", "2024-01-01 17:00:00+00"),
        ("2024-01-01 12:00:00 PST", "UTC", "2024-01-01 20:00:00+00"),
        ("1800-01-01 00:00:00Z", "Europe/Berlin", "1800-01-01 00:53:28+00:53:28"),
        ("2024-01-01 00:30:00+05:30", "America/St_Johns", "2023-12-31 15:30:00-03:30"),
    ];
    for (text, zone, expected) in cases {
        assert_eq!(timestamptz(text, zone), expected, "{text} in {zone}");
    }
}

#[test]
fn dates_and_times() {
    let cases = [
        ("2024-02-29", "2024-02-29"),
        ("January 8, 1999", "1999-01-08"),
        ("1999-Jan-08", "1999-01-08"),
        ("1/8/1999", "1999-01-08"),
        ("1/8/99", "1999-01-08"),
        ("19990108", "1999-01-08"),
        ("2024-02-29 10:00:00", "2024-02-29"),
        ("0001-01-01 BC", "0001-01-01 BC"),
        ("9999-12-31", "9999-12-31"),
        ("0000-01-01", "22008 date/time field value out of range: \"0000-01-01\""),
        ("2024-04-31", "22008 date/time field value out of range: \"2024-04-31\""),
        ("hello", "22007 invalid input syntax for type date: \"hello\""),
    ];
    for (text, expected) in cases {
        assert_eq!(date(text), expected, "{text}");
    }
    let cases = [
        ("04:05:06.789", "04:05:06.789"),
        ("04:05", "04:05:00"),
        ("04:05 PM", "16:05:00"),
        ("24:00:00", "24:00:00"),
        ("2024-02-29 10:00:00", "10:00:00"),
        ("04:05:06+02", "04:05:06"),
        ("25:00:00", "22008 date/time field value out of range: \"25:00:00\""),
        ("x", "22007 invalid input syntax for type time: \"x\""),
    ];
    for (text, expected) in cases {
        assert_eq!(time(text), expected, "{text}");
    }
}

#[test]
fn extreme_values_print_and_strange_texts_do_not_panic() {
    let mut out = Vec::new();
    for micros in [i64::MIN, i64::MAX, 0, -1] {
        write_timestamp(micros, &mut out);
        write_timestamptz(micros, Zone::parse("Asia/Tokyo").unwrap(), &mut out);
        write_time(micros, &mut out);
    }
    write_date(i32::MIN, &mut out);
    write_date(i32::MAX, &mut out);
    for text in
        ["é", "2024-é-01", "T", "1T1", "::", "-", "+", "2024-02-29T", "12:30é", "/", "//", "9999999-99-99", "١٢:٣٠", "1:2:3:4", ".", "am", "12:30 am am"]
    {
        let _ = (parse_date(text), parse_time(text), parse_timestamp(text), parse_timestamptz(text, Zone::Utc));
    }
}

#[test]
fn the_short_way_reads_what_the_long_way_reads() {
    // A leading blank takes the long way.
    let texts = [
        "2024-02-29",
        "2024-02-29 12:30:15",
        "2024-02-29T12:30:15.5",
        "2024-02-29T12:30:15.1234565Z",
        "2024-02-29 12:30:15+01",
        "2024-02-29 12:30:15-0130",
        "2024-02-29 12:30:15.25+05:30",
        "2024-02-29 24:00:00",
        "2024-02-29 24:00:01",
        "2024-02-30",
        "0000-01-01",
        "2024-02-29 12:30:15.",
        "2024-02-29 12:30:15+1",
        "2024-02-29 12:30:15+16",
        "2024-02-29 12:30:15 ",
        "2024-02-29x",
    ];
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    for text in texts {
        let long = format!(" {text}");
        let shown = |r: Result<i64>| r.map_err(|e| e.sqlstate());
        assert_eq!(shown(parse_timestamp(text)), shown(parse_timestamp(&long)), "{text}");
        assert_eq!(shown(parse_timestamptz(text, berlin)), shown(parse_timestamptz(&long, berlin)), "{text}");
        assert_eq!(shown(parse_date(text).map(i64::from)), shown(parse_date(&long).map(i64::from)), "{text}");
    }
}
