//! Text checks over the tree: what no compiler checks but a reader relies on. No dependency, no parser: a small
//! scanner blanks out comments, strings and test code, then plain searches do the rest.
//!
//! - the import table: which room may name which
//! - fences: the one place for each foreign crate
//! - the list of a room (its `mod` lines) is its folder
//! - sizes: files, and functions with a ratchet that only ever gets shorter
//! - documents name only paths that exist
//! - nothing half-done, nothing that panics on input, no machine's own paths

#![allow(clippy::unwrap_used)] // all of it is tests; the lint's own exemption sees only #[test] functions

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, bottom up, and what each may name besides itself.
const IMPORTS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("types", &["error"]),
    ("formats", &["error", "types"]),
    ("connectors", &["error", "types", "formats"]),
    ("state", &["error", "types"]),
    ("dataflow", &["error", "types", "state"]),
    ("catalog", &["error", "types", "state"]),
    ("sql", &["error", "types", "catalog", "connectors", "formats"]),
    ("plan", &["error", "types", "dataflow"]),
    ("views", &["error", "types", "state", "catalog"]),
    ("pg", &["error", "types"]),
    ("node", &["error", "types", "formats", "connectors", "state", "dataflow", "catalog", "sql", "plan", "views", "pg"]),
    ("main", &["error", "node"]),
    ("lib", &[]),
];

/// A foreign crate and the only places that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("rocksdb", &["src/state/rocks.rs"]),
    ("rdkafka", &["src/connectors/kafka/"]),
    ("pgwire", &["src/pg/"]),
    // A statement runs over the tree that sql has parsed.
    ("sqlparser", &["src/sql/", "src/node/statement/"]),
    ("datafusion", &["src/sql/", "src/plan/", "src/views/", "src/node/"]),
    ("tokio", &["src/main.rs", "src/connectors/", "src/catalog/", "src/sql/", "src/views/", "src/pg/", "src/node/"]),
    ("axum", &["src/node/http.rs"]),
    ("clap", &["src/main.rs", "src/node/config.rs"]),
];

const UNSAFE_ALLOWED: [&str; 2] = ["src/connectors/kafka/batch.rs", "src/node/allocator.rs"];
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const MACROS_MAX: usize = 3;
/// Functions that are longer for now: `path function lines`. Entries may shrink and go, never grow.
const RATCHET: &str = "tests/tidy_ratchet.txt";

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, BTreeSet<&str>> = IMPORTS.iter().map(|(room, may)| (*room, may.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let room = room_of(&file.path);
        let Some(may) = table.get(room.as_str()) else {
            wrong.push(format!("{}: room \"{room}\" is not in the import table", file.path));
            continue;
        };
        for (line, named) in named_rooms(&file.code) {
            if named != room && table.contains_key(named.as_str()) && !may.contains(named.as_str()) {
                wrong.push(format!("{}:{line}: room \"{room}\" may not import \"{named}\"", file.path));
            }
        }
    }
    report(wrong);
}

#[test]
fn the_import_table_has_no_circle() {
    let order: Vec<&str> = IMPORTS.iter().map(|(room, _)| *room).collect();
    for (position, (room, may)) in IMPORTS.iter().enumerate() {
        for other in *may {
            let at = order.iter().position(|r| r == other);
            assert!(at.is_some_and(|at| at < position), "\"{room}\" names \"{other}\", which is not below it");
        }
    }
}

#[test]
fn foreign_crates_stay_behind_their_fences() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (name, places) in FENCES {
            if places.iter().any(|place| file.path.starts_with(place)) {
                continue;
            }
            for line in lines_with_path_segment(&file.code, name) {
                wrong.push(format!("{}:{line}: {name} belongs to {}", file.path, places.join(", ")));
            }
        }
    }
    report(wrong);
}

#[test]
fn the_list_of_a_room_is_its_folder() {
    let mut wrong = Vec::new();
    for list in files_under("src").into_iter().filter(|p| p.ends_with("/mod.rs")) {
        let folder = list.trim_end_matches("/mod.rs").to_string();
        let text = read(&list);
        let listed: BTreeSet<String> = text.lines().filter_map(module_of_line).collect();
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().to_string();
            let is_module = path.is_dir() && path.join("mod.rs").exists() || path.extension().is_some_and(|e| e == "rs");
            if is_module && stem != "mod" {
                present.insert(stem);
            }
        }
        wrong.extend(present.difference(&listed).map(|m| format!("{folder}/{m}: in the folder, not in {list}")));
        wrong.extend(listed.difference(&present).map(|m| format!("{folder}/{m}: in {list}, not in the folder")));
    }
    report(wrong);
}

#[test]
fn files_are_not_too_long() {
    let long = sources().into_iter().filter(|f| f.code_lines() > FILE_LINES_MAX);
    report(long.map(|f| format!("{}: {} lines without tests, at most {FILE_LINES_MAX}", f.path, f.code_lines())).collect());
}

#[test]
fn functions_are_not_too_long() {
    let mut allowed: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in read(RATCHET).lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        allowed.insert((words[0].to_string(), words[1].to_string()), words[2].parse().unwrap());
    }
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources() {
        for (name, first_line, lines) in functions(&file.code) {
            let key = (file.path.clone(), name);
            let limit = allowed.get(&key).copied().unwrap_or(FUNCTION_LINES_MAX);
            if lines > limit {
                wrong.push(format!("{}:{first_line}: function {} has {lines} lines, at most {limit}", key.0, key.1));
            }
            if lines > FUNCTION_LINES_MAX {
                used.insert(key);
            }
        }
    }
    wrong
        .extend(allowed.keys().filter(|key| !used.contains(*key)).map(|(path, name)| format!("{RATCHET}: {path} {name} is short enough now, delete the line")));
    report(wrong);
}

#[test]
fn nothing_is_half_done() {
    let banned = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "allow(dead_code", "allow(unused"];
    let mut wrong = Vec::new();
    for path in files_under("src").into_iter().chain(files_under("tests")).chain(files_under("benches")) {
        if !path.ends_with(".rs") || path == "tests/tidy.rs" {
            continue;
        }
        let code = blank_comments_and_strings(&read(&path));
        for (number, line) in code.lines().enumerate() {
            wrong.extend(banned.iter().filter(|b| line.contains(**b)).map(|b| format!("{path}:{}: {b}", number + 1)));
        }
    }
    report(wrong);
}

#[test]
fn no_input_can_panic_through_unwrap() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (number, line) in file.code.lines().enumerate() {
            if line.contains(".unwrap()") {
                wrong.push(format!("{}:{}: unwrap(); say why it cannot fail with expect(\"…\"), or return an error", file.path, number + 1));
            }
        }
    }
    report(wrong);
}

#[test]
fn unsafe_code_stands_where_it_is_allowed() {
    let mut wrong = Vec::new();
    for file in sources().into_iter().filter(|f| !UNSAFE_ALLOWED.contains(&f.path.as_str())) {
        for (number, line) in file.code.lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                wrong.push(format!("{}:{}: unsafe belongs to {UNSAFE_ALLOWED:?}", file.path, number + 1));
            }
        }
    }
    report(wrong);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = files_under("src").into_iter().filter(|p| p.ends_with(".rs") && !p.ends_with("tests.rs") && !read(p).starts_with("//!"));
    report(silent.map(|p| format!("{p}: begins without //! header")).collect());
}

#[test]
fn names_are_names_of_things() {
    let vague = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let mut wrong = Vec::new();
    for path in files_under("src").into_iter().chain(files_under("tests")) {
        if path.trim_end_matches(".rs").split(['/', '_']).any(|part| vague.contains(&part)) {
            wrong.push(format!("{path}: a name that says nothing"));
        }
    }
    report(wrong);
}

#[test]
fn macros_are_few_and_hide_no_module() {
    let mut found = Vec::new();
    for file in sources() {
        found.extend(file.code.lines().enumerate().filter(|(_, l)| l.contains("macro_rules!")).map(|(n, _)| format!("{}:{}", file.path, n + 1)));
    }
    assert!(found.len() <= MACROS_MAX, "at most {MACROS_MAX} macros in src, these are {}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn documents_name_only_paths_that_exist() {
    let folders = ["src/", "docs/", "tests/", "scripts/", "sql/", "docker/", "benches/", ".ci/", ".cargo/"];
    let mut wrong = Vec::new();
    for document in all_files().into_iter().filter(|p| p.ends_with(".md")) {
        for (number, line) in read(&document).lines().enumerate() {
            for quoted in line.split('`').skip(1).step_by(2) {
                let path = quoted.split([' ', ':', '#']).next().unwrap_or_default();
                if folders.iter().any(|f| path.starts_with(f)) && !path.contains(['*', '<', '…', '{']) && !root().join(path).exists() {
                    wrong.push(format!("{document}:{}: {path} does not exist", number + 1));
                }
            }
            for target in link_targets(line) {
                let beside = root().join(&document).parent().unwrap().join(&target);
                if !beside.exists() {
                    wrong.push(format!("{document}:{}: link to {target}, which does not exist", number + 1));
                }
            }
        }
    }
    report(wrong);
}

#[test]
fn no_file_names_a_machine() {
    // Put together here, so that this file does not find itself.
    let private = [["/ro", "ot/"].concat(), ["/wo", "rk/"].concat(), ["index.cra", "tes.io"].concat(), ["sparse", "+http"].concat()];
    let mut wrong = Vec::new();
    for path in all_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            // Cargo.lock names its registry; that is its format.
            if path != "Cargo.lock" && private.iter().any(|p| line.contains(p.as_str())) {
                wrong.push(format!("{path}:{}: a path or host of one machine", number + 1));
            }
        }
    }
    report(wrong);
}

/// One source file: its text without comments, strings and test code, on the same lines.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn code_lines(&self) -> usize {
        self.code.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).last().map_or(0, |(last, _)| last + 1)
    }
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The program's sources without files that exist only for tests.
fn sources() -> Vec<Source> {
    let mut test_files = BTreeSet::new();
    let paths: Vec<String> = files_under("src").into_iter().filter(|p| p.ends_with(".rs")).collect();
    for path in &paths {
        let text = read(path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(test)]") || pair[0].starts_with("#[cfg(any(test")) {
            if let Some(module) = module_of_line(pair[1]) {
                // Modules of `x/mod.rs` are beside it, those of `x.rs` in the folder `x`.
                let door = path.ends_with("/mod.rs") || path == "src/lib.rs" || path == "src/main.rs";
                let folder = if door { path.rsplit_once('/').map_or("src", |(folder, _)| folder) } else { path.trim_end_matches(".rs") };
                test_files.insert(format!("{folder}/{module}.rs"));
            }
        }
    }
    // A test module may be a file or a whole folder.
    let only_tests = |path: &String| test_files.iter().any(|t| path == t || path.starts_with(&format!("{}/", t.trim_end_matches(".rs"))));
    let kept = paths.into_iter().filter(|p| !only_tests(p));
    kept.map(|path| Source { code: blank_tests(&blank_comments_and_strings(&read(&path))), path }).collect()
}

/// `src/sql/parse/x.rs` is in room `sql`; `src/error.rs` is the room `error`.
fn room_of(path: &str) -> String {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap().trim_end_matches(".rs").to_string()
}

/// Every `crate::ROOM` or `tidewater::ROOM`, with its line; `use crate::{a, b}` counts for each.
fn named_rooms(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for prefix in ["crate::", "tidewater::"] {
            for (at, _) in line.match_indices(prefix) {
                let rest = &line[at + prefix.len()..];
                let list = rest.strip_prefix('{').map_or(rest, |inner| inner.split('}').next().unwrap());
                let items = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
                found.extend(items.iter().filter_map(|item| words(item).next().map(|word| (number + 1, word.to_string()))));
            }
        }
    }
    found
}

/// Lines on which `name` begins a path (`name::`) or is imported.
fn lines_with_path_segment(code: &str, name: &str) -> Vec<usize> {
    let found = code.lines().enumerate().filter(|(_, line)| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + name.len()..];
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                && (after.starts_with("::") || line.trim_start().starts_with("use ") && after.starts_with(';'))
        })
    });
    found.map(|(number, _)| number + 1).collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// `pub(crate) mod x;` gives `x`.
fn module_of_line(line: &str) -> Option<String> {
    let line = line.trim();
    let rest = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) ")).or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    rest.strip_prefix("mod ")?.strip_suffix(';').map(str::to_string)
}

/// Files that git would see, without its own, the build's and the demo's.
fn all_files() -> Vec<String> {
    let skipped = ["target", "tidewater-data", ".git", ".cache"];
    let mut files = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().to_string();
        if skipped.contains(&name.as_str()) {
            continue;
        }
        if root().join(&name).is_dir() { files.extend(files_under(&name)) } else { files.push(name) }
    }
    files
}

fn files_under(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { folders.push(path) } else { files.push(path.to_string_lossy().to_string()) }
        }
    }
    files.sort();
    files
}

/// Relative targets of Markdown links on a line.
fn link_targets(line: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for (at, _) in line.match_indices("](") {
        let target = line[at + 2..].split(')').next().unwrap_or_default();
        let file = target.split('#').next().unwrap_or_default();
        if !file.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
            targets.push(file.to_string());
        }
    }
    targets
}

/// Replaces comments and the insides of strings and characters by blanks; lines stay where they are.
fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match (chars[i], chars.get(i + 1)) {
            ('/', Some('/')) => end_of_line(&chars, i),
            ('/', Some('*')) => end_of_block_comment(&chars, i),
            ('"', _) => end_of_string(&chars, i),
            ('r', Some('"' | '#')) if !previous_is_word(&chars, i) => end_of_raw_string(&chars, i),
            ('b', Some('r')) if !previous_is_word(&chars, i) && matches!(chars.get(i + 2), Some('"' | '#')) => end_of_raw_string(&chars, i + 1),
            ('\'', _) => end_of_char(&chars, i),
            _ => i,
        };
        if end == i {
            out.push(chars[i]);
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

fn previous_is_word(chars: &[char], i: usize) -> bool {
    i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_')
}

fn end_of_line(chars: &[char], i: usize) -> usize {
    chars[i..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| i + n)
}

fn end_of_block_comment(chars: &[char], i: usize) -> usize {
    let mut depth = 0;
    let mut at = i;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], i: usize) -> usize {
    let mut at = i + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `i` stands on the `r`; a raw identifier (`r#type`) is no string.
fn end_of_raw_string(chars: &[char], i: usize) -> usize {
    let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(i + 1 + hashes) != Some(&'"') {
        return i;
    }
    let mut at = i + 2 + hashes;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// A character literal; a lifetime (`'a`) is none.
fn end_of_char(chars: &[char], i: usize) -> usize {
    match (chars.get(i + 1), chars.get(i + 2)) {
        (Some('\\'), _) => chars[i + 3..].iter().position(|c| *c == '\'').map_or(i, |n| i + 4 + n),
        (Some(_), Some('\'')) => i + 3,
        _ => i,
    }
}

/// Blanks every item under `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let end = end_of_item(code, at);
        for byte in &mut bytes[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8_lossy(&bytes).to_string()
}

/// Where the item that begins at `at` ends: behind its `;`, or behind the brace that closes its first one.
fn end_of_item(code: &str, at: usize) -> usize {
    let mut depth = 0usize;
    // Brackets and parentheses may hold a `;` (`[u8; 4]`).
    let mut nested = 0usize;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + offset + 1;
                }
            }
            b';' if depth == 0 && nested == 0 => return at + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Name, first line and length of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(name) = words(&code[at + 3..]).next() else { continue };
        if !code[at + 3..].trim_start().starts_with(name) {
            continue; // a function type: `fn (…)`
        }
        let end = end_of_item(code, at);
        let first_line = code[..at].matches('\n').count() + 1;
        found.push((name.to_string(), first_line, code[at..end].matches('\n').count() + 1));
    }
    found
}

#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let text = "fn a() { \"todo!(\"; 'x'; r#\"}\"#; } // }\n#[cfg(test)]\nmod tests { fn b() { x.unwrap() } }\nfn c<'a>(x: &'a [u8; 2]) -> u8 {\n1\n}\n";
    let code = blank_tests(&blank_comments_and_strings(text));
    assert!(!code.contains("todo") && !code.contains("unwrap"), "{code}");
    assert_eq!(functions(&code), [("a".to_string(), 1, 1), ("c".to_string(), 4, 3)]);
    assert_eq!(named_rooms("use crate::{sql, plan::x};"), [(1, "sql".to_string()), (1, "plan".to_string())]);
}
