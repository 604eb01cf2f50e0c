//! Event time, with the clock in the test's hand: the engine runs in this process on a clock that only moves when told to. Each file
//! of a followed folder is one partition.

use crate::client::Client;
use crate::clocked::Clocked;
use crate::oracle::SECOND;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// 2024-01-01 10:00:00
const START: i64 = 1_704_103_200 * SECOND;
const MINUTE: i64 = 60 * SECOND;

/// A source over the files of `folder`, a view that is corrected and one that is final.
fn create(client: &mut Client, folder: &Path, delay: &str) {
    client.run(&format!(
        "CREATE SOURCE event (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '{delay}') \
         WITH (connector = 'file', path = '{}/*.ndjson', follow = 'true', idle_timeout = '30 seconds', max_future_skew = '5 minutes') \
         FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW open AS SELECT window_start, count(*) AS n FROM TUMBLE(event, ts, INTERVAL '1 minute') GROUP BY window_start, window_end; \
         CREATE MATERIALIZED VIEW final AS SELECT window_start, count(*) AS n FROM TUMBLE(event, ts, INTERVAL '1 minute') \
         GROUP BY window_start, window_end EMIT ON WINDOW CLOSE",
        folder.display()
    ));
}

/// Appends events to a partition's file; times are µs after START.
fn append(folder: &Path, partition: &str, events: &[(i64, i64)]) {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("{partition}.ndjson"))).unwrap();
    let lines: String = events.iter().map(|(id, after)| format!("{{\"id\": {id}, \"ts\": {}}}\n", (START + after) / 1000)).collect();
    file.write_all(lines.as_bytes()).unwrap();
}

fn count(client: &mut Client, expected: i64) {
    client.until("SELECT sum(rows) FROM tidewater.sources", &expected.to_string(), PATIENCE);
}

#[test]
fn windows_close_by_the_watermark_whatever_its_delay() {
    for (delay, micros) in [("30 seconds", 30 * SECOND), ("90 seconds", 90 * SECOND), ("5 minutes", 300 * SECOND)] {
        let folder = tempfile::tempdir().unwrap();
        // Out of order, and one event twice: both count, a source has no key.
        append(folder.path(), "a", &[(1, 50 * SECOND), (2, 10 * SECOND), (2, 10 * SECOND)]);
        let clocked = Clocked::start(START + MINUTE);
        let mut client = clocked.connect();
        create(&mut client, folder.path(), delay);
        count(&mut client, 3);
        assert_eq!(client.texts("SELECT n FROM open"), [["3"]], "{delay}");
        // One microsecond (a millisecond in this input) short of closing the first minute; an event of it is still in time.
        append(folder.path(), "a", &[(3, MINUTE + micros - 1000)]);
        count(&mut client, 4);
        append(folder.path(), "a", &[(4, 59 * SECOND)]);
        count(&mut client, 5);
        assert_eq!(client.texts("SELECT n FROM final"), [[""; 0]; 0], "{delay}");
        assert_eq!(client.one("SELECT n FROM open ORDER BY window_start LIMIT 1"), "4", "{delay}");
        append(folder.path(), "a", &[(5, MINUTE + micros)]);
        client.until("SELECT n FROM final", "4", PATIENCE);
        // Now it is late: counted, kept, not used.
        append(folder.path(), "a", &[(6, 0)]);
        client.until("SELECT late_rows FROM tidewater.views WHERE view = 'final'", "1", PATIENCE);
        assert_eq!(client.texts("SELECT n FROM final"), [["4"]], "{delay}");
        let listed = client.texts("SELECT source_positions, row FROM tidewater.late_rows WHERE view = 'open'");
        assert!(listed.len() == 1 && listed[0][0].starts_with("event ") && listed[0][0].contains(":["), "{delay}: {listed:?}");
    }
}

#[test]
fn a_silent_partition_holds_windows_until_it_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "a", &[(1, 10 * SECOND)]);
    append(folder.path(), "b", &[(2, 20 * SECOND)]);
    let clocked = Clocked::start(START + MINUTE);
    let mut client = clocked.connect();
    create(&mut client, folder.path(), "5 seconds");
    append(folder.path(), "a", &[(3, 120 * SECOND)]);
    count(&mut client, 3);
    client.until("SELECT count(*) FROM tidewater.sources WHERE status LIKE '%holds the watermark%'", "1", PATIENCE);
    assert_eq!(client.texts("SELECT n FROM final"), [[""; 0]; 0], "partition b has promised nothing yet");
    clocked.advance(31 * SECOND);
    // b has confirmed for 30 s that nothing waits. So has a: with all idle the watermark stays, until a goes on.
    assert_eq!(client.texts("SELECT n FROM final"), [[""; 0]; 0]);
    append(folder.path(), "a", &[(5, 121 * SECOND)]);
    client.until("SELECT n FROM final", "2", PATIENCE);
    append(folder.path(), "b", &[(4, 30 * SECOND)]);
    client.until("SELECT late_rows FROM tidewater.views WHERE view = 'final'", "1", PATIENCE);
}

#[test]
fn a_partition_with_a_clock_a_year_ahead_moves_no_watermark() {
    let year = 365 * 24 * 60 * MINUTE;
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "a", &[(1, 10 * SECOND)]);
    append(folder.path(), "b", &[(2, year), (3, year + SECOND)]);
    let clocked = Clocked::start(START + MINUTE);
    let mut client = clocked.connect();
    create(&mut client, folder.path(), "5 seconds");
    client.until("SELECT sum(dead_letters) FROM tidewater.sources", "2", PATIENCE);
    append(folder.path(), "a", &[(4, 20 * SECOND)]);
    client.until("SELECT n FROM open", "2", PATIENCE);
    assert_eq!(client.one("SELECT count(*) FROM tidewater.views WHERE late_rows > 0"), "0", "nothing became late by the wrong clock");
    clocked.advance(31 * SECOND);
    append(folder.path(), "a", &[(5, 70 * SECOND)]);
    client.until("SELECT n FROM final", "2", PATIENCE);
    assert_eq!(client.one("SELECT count(*) FROM open"), "2", "no window a year ahead");
}

#[test]
fn windows_of_processing_time_close_by_the_clock_alone() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "a", &[(1, 0), (2, 0)]);
    let clocked = Clocked::start(START + 5 * SECOND);
    let mut client = clocked.connect();
    client.run(&format!(
        "CREATE SOURCE event (id BIGINT, ts TIMESTAMP, taken_in TIMESTAMPTZ AS PROCTIME()) \
         WITH (connector = 'file', path = '{}/*.ndjson', follow = 'true') FORMAT PLAIN ENCODE JSON; \
         CREATE MATERIALIZED VIEW open AS SELECT window_start, count(*) AS n FROM TUMBLE(event, taken_in, INTERVAL '1 minute') GROUP BY window_start, window_end; \
         CREATE MATERIALIZED VIEW final AS SELECT window_start AT TIME ZONE 'UTC' AS s, window_end AT TIME ZONE 'UTC' AS e, count(*) AS n \
           FROM TUMBLE(event, taken_in, INTERVAL '1 minute') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE; \
         CREATE MATERIALIZED VIEW sliding AS SELECT count(*) AS n \
           FROM HOP(event, PROCTIME(), INTERVAL '30 seconds', INTERVAL '1 minute') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE; \
         CREATE MATERIALIZED VIEW visits AS SELECT window_start AT TIME ZONE 'UTC' AS s, window_end AT TIME ZONE 'UTC' AS e, count(*) AS n \
           FROM SESSION((SELECT id, PROCTIME() AS p FROM event), p, INTERVAL '20 seconds') GROUP BY window_start, window_end EMIT ON WINDOW CLOSE",
        folder.path().display()
    ));
    count(&mut client, 2);
    client.until("SELECT n FROM open", "2", PATIENCE);
    clocked.advance(10 * SECOND);
    append(folder.path(), "a", &[(3, 0)]);
    client.until("SELECT n FROM open", "3", PATIENCE);
    assert_eq!(client.texts("SELECT n FROM visits"), [[""; 0]; 0]);
    // No input from here on. A session is over when the clock has passed its end, 20 seconds behind its last row.
    clocked.advance(20 * SECOND);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.texts("SELECT n FROM visits"), [[""; 0]; 0], "at the end itself a row could still come with a time before it");
    clocked.advance(1);
    client.until("SELECT n FROM visits", "3", PATIENCE);
    assert_eq!(client.texts("SELECT * FROM visits"), [["2024-01-01 10:00:05", "2024-01-01 10:00:35", "3"]]);
    client.until("SELECT count(*) FROM sliding", "1", PATIENCE);
    assert_eq!(client.texts("SELECT n FROM final"), [[""; 0]; 0]);
    clocked.advance(25 * SECOND);
    client.until("SELECT n FROM final", "3", PATIENCE);
    assert_eq!(client.texts("SELECT * FROM final"), [["2024-01-01 10:00:00", "2024-01-01 10:01:00", "3"]]);
    client.until("SELECT count(*) FROM sliding", "2", PATIENCE);
    // What comes now is never late: it is dated now.
    append(folder.path(), "a", &[(4, 0)]);
    client.until("SELECT count(*) FROM open", "2", PATIENCE);
    assert_eq!(client.one("SELECT sum(late_rows) FROM tidewater.views"), "0");
    // The clock of the machine is set back: time stands still until it has caught up.
    clocked.advance(-30 * SECOND);
    append(folder.path(), "a", &[(5, 0)]);
    client.until("SELECT sum(n) FROM open", "5", PATIENCE);
    assert_eq!(client.one("SELECT count(*) FROM open"), "2");
}
