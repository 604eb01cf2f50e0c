//! What the operating system says about a process and a folder.

use std::path::Path;

/// Processor time of a process so far, user and system, in seconds. The kernel counts in ticks of 10 ms.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A line of /proc/PID/status, in MiB: `VmHWM` (the most memory ever), `VmRSS` (now).
pub fn memory_mib(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// Bytes of all files in a folder.
pub fn folder_mib(folder: &Path) -> f64 {
    let mut bytes = 0;
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            // A file of the store may be gone again by now.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() { waiting.push(entry.path()) } else { bytes += metadata.len() }
        }
    }
    bytes as f64 / f64::from(1 << 20)
}

/// The value below which `share` of the sorted values lie.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}
